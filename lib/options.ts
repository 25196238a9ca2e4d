import {
  type ConnectionTarget,
  readConnectionOption,
} from './connection/connection-option.js';
import type { PunctualOptions } from './deadlines/learner.js';
import {
  invalidOption,
  unavailableOption,
} from './errors/redis-expiry.error.js';
import type { OnKeyExpiredOptions } from './interfaces/handler-options.interface.js';
import type { RedisExpiryModuleOptions } from './interfaces/module-options.interface.js';
import type { NotificationsMode } from './keyspace/flag-keeper.js';

/** The module's options, checked and complete. */
export interface ResolvedOptions {
  readonly target: ConnectionTarget;
  readonly namespace: string;
  readonly notifications: NotificationsMode;
  /** Undefined: only what Redis announces by itself. */
  readonly punctual: PunctualOptions | undefined;
  readonly concurrency: number;
  readonly queueLimit: number;
  readonly shutdownTimeout: number;
  readonly name: string;
}

const OPTIONS = [
  'connection',
  'group',
  'namespace',
  'notifications',
  'punctual',
  'concurrency',
  'queueLimit',
  'retry',
  'leaseDuration',
  'shutdownTimeout',
  'name',
];
const PUNCTUAL_OPTIONS = ['scanInterval', 'scanCount'];
const HANDLER_OPTIONS = ['group', 'concurrency', 'retry'];
const LONGEST_TIMER = 2 ** 31 - 1;

/** Checks the module's options and fills in the defaults. Throws `INVALID_OPTION_…` or `UNAVAILABLE_OPTION_…`. */
export function resolveOptions(
  options: RedisExpiryModuleOptions | undefined,
): ResolvedOptions {
  const given = options ?? {};
  checkNames(given, OPTIONS, 'options');
  refuseUnavailable(given);
  const { namespace = 'rx', notifications = 'ensure' } = given;
  const { shutdownTimeout = 10_000, name = 'redis-expiry' } = given;
  if (typeof namespace !== 'string' || namespace === '')
    throw invalidOption('namespace', namespace, 'a text that is not empty');
  if (!['ensure', 'verify', 'off'].includes(notifications)) {
    throw invalidOption(
      'notifications',
      notifications,
      "'ensure', 'verify' or 'off'",
    );
  }
  if (
    typeof shutdownTimeout !== 'number' ||
    !(shutdownTimeout >= 0 && shutdownTimeout <= LONGEST_TIMER)
  ) {
    throw invalidOption(
      'shutdownTimeout',
      shutdownTimeout,
      `milliseconds from 0 to ${LONGEST_TIMER}`,
    );
  }
  if (typeof name !== 'string' || !/^[\x21-\x7e]+$/.test(name))
    throw invalidOption('name', name, 'visible ASCII without spaces');
  return {
    target: readConnectionOption(given.connection),
    namespace,
    notifications,
    punctual: resolvePunctual(given.punctual),
    concurrency: count('concurrency', given.concurrency, 100),
    queueLimit: count('queueLimit', given.queueLimit, 500_000),
    shutdownTimeout,
    name,
  };
}

/** Checks a handler's options. Throws `INVALID_OPTION_…` or `UNAVAILABLE_OPTION_…`. */
export function resolveHandlerOptions(options: OnKeyExpiredOptions = {}): {
  concurrency: number;
} {
  checkNames(options, HANDLER_OPTIONS, 'handler options');
  const { group, retry } = options;
  if (group !== undefined && group !== false)
    throw unavailableOption('group', group, 'leave it out for broadcast');
  if (retry !== undefined)
    throw unavailableOption('retry', retry, 'leave it out');
  return { concurrency: count('concurrency', options.concurrency, Infinity) };
}

function refuseUnavailable(options: RedisExpiryModuleOptions): void {
  const { group, retry, leaseDuration } = options;
  if (group !== undefined)
    throw unavailableOption('group', group, 'leave it out for broadcast');
  if (retry !== undefined)
    throw unavailableOption('retry', retry, 'leave it out');
  if (leaseDuration !== undefined)
    throw unavailableOption('leaseDuration', leaseDuration, 'leave it out');
}

function resolvePunctual(
  punctual: RedisExpiryModuleOptions['punctual'],
): PunctualOptions | undefined {
  if (punctual === false) return undefined;
  const given = punctual === undefined || punctual === true ? {} : punctual;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalidOption(
      'punctual',
      punctual,
      'true, false, or { scanInterval, scanCount }',
    );
  }
  checkNames(given, PUNCTUAL_OPTIONS, 'punctual');
  const { scanInterval = 600_000 } = given;
  if (
    typeof scanInterval !== 'number' ||
    !(scanInterval >= 1_000 && scanInterval <= LONGEST_TIMER)
  ) {
    throw invalidOption(
      'punctual.scanInterval',
      scanInterval,
      `milliseconds from 1000 to ${LONGEST_TIMER}`,
    );
  }
  const scanCount = count('punctual.scanCount', given.scanCount, 1_000);
  return { scanInterval, scanCount };
}

function checkNames(
  given: object,
  known: readonly string[],
  what: string,
): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidOption(what, given, 'an object');
  for (const [name, value] of Object.entries(given))
    if (!known.includes(name))
      throw invalidOption(name, value, `no such option; ${known.join(', ')}`);
}

function count(name: string, value: unknown, fallback: number): number {
  if (value === undefined) return fallback;
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw invalidOption(name, value, 'a whole number from 1 on');
  return value as number;
}
