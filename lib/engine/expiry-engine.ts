import type { ArmedKeys } from '../group/armed-keys.js';
import type { DeadLetters } from '../group/dead-letters.js';
import type { ExpiryHandler } from '../dispatch/expiry.js';
import {
  RedisExpiryError,
  invalidOption,
} from '../errors/redis-expiry.error.js';
import type { ExpirySubscription, RedisExpiryStatus } from './status.js';

/** A handler of the application's own, and the group that it names; `false`: broadcast; undefined: the module's. */
export type OwnHandler = ExpiryHandler & {
  readonly group: string | false | undefined;
};

/** A handler, and the group that it belongs to; undefined: broadcast. */
export type AssignedHandler = ExpiryHandler & {
  readonly group: string | undefined;
};

/**
 * A handler with the group that it belongs to.
 *
 * @param moduleGroup the group of handlers that name none
 */
export function withGroup(
  { group, ...handler }: OwnHandler,
  moduleGroup: string | undefined,
): AssignedHandler {
  return {
    ...handler,
    group: group === false ? undefined : (group ?? moduleGroup),
  };
}

/** Throws `INVALID_OPTION_PUNCTUAL` for a handler of warnings where deadlines are not watched. */
export function assertWatched(
  { before, name }: Pick<ExpiryHandler, 'before' | 'name'>,
  { punctual }: { readonly punctual: unknown },
): void {
  if (before === undefined || punctual) return;
  throw invalidOption(
    'punctual',
    false,
    `true with the handler ${name}, whose warnings come from watching deadlines`,
  );
}

/** The group that keys are written for. Throws `NO_GROUP` where neither the call nor the module names one. */
export function groupOfKeys(
  named: string | undefined,
  moduleGroup: string | undefined,
): string {
  const group = named ?? moduleGroup;
  if (group === undefined)
    throw new RedisExpiryError(
      'NO_GROUP',
      'Keys are armed for a group, and none is named: set the option "group" of forRoot(), or name one in the call as { group }.',
    );
  return group;
}

/** A group as `RedisExpirySubscriber` uses it. */
export interface GroupAccess {
  readonly name: string;
  readonly letters: Pick<DeadLetters, 'list' | 'redrive' | 'discard'>;
}

/** A group's keys as `RedisExpiryKeys` writes them. */
export type KeyAccess = Pick<ArmedKeys, 'arm' | 'renew' | 'cancel' | 'enrol'>;

/**
 * What the Nest skin needs of an engine. `RedisExpiryEngine` is the one that works with Redis, and its
 * docstrings say what each method promises; the test kit has one that works without.
 */
export interface ExpiryEngine {
  start(handlers?: readonly OwnHandler[]): Promise<void>;
  ready(): Promise<void>;
  handle(handler: OwnHandler): Promise<ExpirySubscription>;
  listen(
    channelPattern: string,
    handler: (pattern: string, channel: string, message: string) => unknown,
  ): Promise<ExpirySubscription>;
  group(name?: string): GroupAccess | undefined;
  keys(group?: string): Promise<KeyAccess>;
  status(): RedisExpiryStatus;
  onDraining(callback: () => void): () => void;
  drain(): Promise<void>;
  close(): void;
}
