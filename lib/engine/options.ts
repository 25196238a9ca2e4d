import type { ConnectionTarget } from '../connection/connection-option.js';
import { ConnectionSource } from '../connection/connection-source.js';
import type { PunctualOptions } from '../deadlines/discovery.js';
import type { ValueOptions } from '../deadlines/value-reader.js';
import type { ValueForm } from '../dispatch/event-value.js';
import { invalidOption } from '../errors/redis-expiry.error.js';
import {
  DEFAULT_LETTER_LIMITS,
  type LetterLimits,
} from '../group/letter-limits.js';
import type { RetryPolicy } from '../dispatch/expiry.js';
import type {
  OnKeyExpiredOptions,
  OnKeyExpiringOptions,
  RetryOptions,
} from '../dispatch/handler-options.js';
import type {
  EnhancerKind,
  RedisExpiryModuleOptions,
} from './module-options.js';
import {
  checkNames,
  count,
  LONGEST_TIMER_MS,
  ms,
  wholeMs,
} from './option-checks.js';
import type { ExpiryTelemetry } from './telemetry.js';
import { resolveForm, resolveValues } from './value-options.js';
import type { NotificationsMode } from '../listening/flag-keeper.js';

/** The module's options, checked and complete. */
export interface ResolvedOptions {
  /** Whether the application's own handlers run in this process. */
  readonly enabled: boolean;
  /** The kinds of enhancers that apply to the application's own handlers. */
  readonly enhancers: readonly EnhancerKind[];
  /** Where Redis is, or whom to ask. */
  readonly source: ConnectionSource;
  readonly namespace: string;
  readonly notifications: NotificationsMode;
  /** Undefined where deadlines are not watched, and only Redis's own announcements count. */
  readonly punctual: PunctualOptions | undefined;
  /** The group of handlers that name none; undefined: broadcast. */
  readonly group: string | undefined;
  readonly retry: RetryPolicy;
  readonly leaseDuration: number;
  readonly deadLetters: LetterLimits;
  readonly renewals: 'auto' | 'heard';
  readonly values: ValueOptions;
  readonly concurrency: number;
  readonly queueLimit: number;
  readonly shutdownTimeout: number;
  readonly telemetry: ExpiryTelemetry | undefined;
  readonly name: string;
}

/** The options where it is known where Redis is. */
export type LocatedOptions = ResolvedOptions & {
  readonly target: ConnectionTarget;
};

const OPTIONS = [
  'enabled',
  'enhancers',
  'connection',
  'group',
  'namespace',
  'notifications',
  'punctual',
  'concurrency',
  'queueLimit',
  'retry',
  'leaseDuration',
  'deadLetters',
  'renewals',
  'values',
  'shutdownTimeout',
  'telemetry',
  'name',
];
const ENHANCER_KINDS: readonly EnhancerKind[] = [
  'guards',
  'interceptors',
  'pipes',
  'filters',
];
const PUNCTUAL_OPTIONS = ['scanInterval', 'scanCount'];
const RETRY_OPTIONS = ['attempts', 'backoff'];
const DEAD_LETTER_OPTIONS = ['maxAge', 'maxCount'];
const COMMON_OPTIONS = ['group', 'concurrency', 'retry', 'timeout', 'value'];
const HANDLER_OPTIONS = [...COMMON_OPTIONS, 'grace'];

/** Checks the module's options and fills in the defaults. Throws `INVALID_OPTION_…`. */
export function resolveOptions(
  given: RedisExpiryModuleOptions,
): ResolvedOptions {
  checkNames(given, OPTIONS, 'options');
  const { namespace = 'rx', notifications = 'ensure' } = given;
  const { name = 'redis-expiry', renewals = 'auto', enabled = true } = given;
  if (typeof enabled !== 'boolean')
    throw invalidOption('enabled', enabled, 'true or false');
  if (typeof namespace !== 'string' || namespace === '')
    throw invalidOption('namespace', namespace, 'a text that is not empty');
  if (!['ensure', 'verify', 'off'].includes(notifications)) {
    throw invalidOption(
      'notifications',
      notifications,
      "'ensure', 'verify' or 'off'",
    );
  }
  if (!['auto', 'heard'].includes(renewals))
    throw invalidOption('renewals', renewals, "'auto' or 'heard'");
  if (typeof name !== 'string' || !/^[\x21-\x7e]+$/.test(name))
    throw invalidOption('name', name, 'visible ASCII without spaces');
  const group = resolveGroup(given.group);
  const punctual = resolvePunctual(given.punctual);
  if (group !== undefined && !punctual) {
    throw invalidOption(
      'punctual',
      false,
      'true with a group, whose events come from watching deadlines',
    );
  }
  return {
    enabled,
    enhancers: resolveEnhancers(given.enhancers),
    source: new ConnectionSource(given.connection),
    namespace,
    notifications,
    punctual,
    group,
    retry: resolveRetry(given.retry),
    leaseDuration: ms('leaseDuration', given.leaseDuration, 30_000, 100),
    deadLetters: resolveDeadLetters(given.deadLetters),
    renewals,
    values: resolveValues(given.values),
    concurrency: count('concurrency', given.concurrency, 100),
    queueLimit: count('queueLimit', given.queueLimit, 500_000),
    shutdownTimeout: ms('shutdownTimeout', given.shutdownTimeout, 10_000, 0),
    telemetry: resolveTelemetry(given.telemetry),
    name,
  };
}

/** A handler's options, checked. */
export interface ResolvedHandlerOptions {
  /** `false`: broadcast; undefined: the module's. */
  readonly group: string | false | undefined;
  readonly concurrency: number;
  /** Ms; undefined: none. */
  readonly timeout?: number;
  readonly grace?: number;
  readonly value?: ValueForm;
  /** Undefined: the module's. */
  readonly retry?: RetryPolicy;
}

/** Checks a handler's options. Throws `INVALID_OPTION_…`. */
export function resolveHandlerOptions(
  options: OnKeyExpiredOptions = {},
): ResolvedHandlerOptions {
  checkNames(options, HANDLER_OPTIONS, 'handler options');
  const { group, retry, timeout } = options;
  const grace = Math.ceil(ms('grace', options.grace, 0, 0));
  return {
    group: group === false ? false : resolveGroup(group),
    concurrency: count('concurrency', options.concurrency, Infinity),
    ...(timeout !== undefined && { timeout: ms('timeout', timeout, 0, 1) }),
    ...(options.value !== undefined && { value: resolveForm(options.value) }),
    ...(grace > 0 && { grace }),
    ...(retry !== undefined && { retry: resolveRetry(retry) }),
  };
}

/** Checks the options of a handler of warnings. Throws `INVALID_OPTION_…`. */
export function resolveExpiringOptions(
  options: OnKeyExpiringOptions,
): ResolvedHandlerOptions & { readonly before: number } {
  checkNames(options, [...COMMON_OPTIONS, 'before'], 'handler options');
  const { before, ...others } = options;
  if (before === undefined)
    throw invalidOption('before', before, 'whole milliseconds from 1 on');
  return {
    ...resolveHandlerOptions(others),
    before: wholeMs('before', before, 1),
  };
}

/** The name of a group, checked. Throws `INVALID_OPTION_GROUP`. */
export function resolveGroup(group: unknown): string | undefined {
  if (group === undefined) return undefined;
  if (typeof group !== 'string' || !/^[^{}\s]+$/.test(group))
    throw invalidOption('group', group, 'a name without spaces and braces');
  return group;
}

function resolveEnhancers(given: unknown = []): EnhancerKind[] {
  const isKind = (kind: unknown): kind is EnhancerKind =>
    ENHANCER_KINDS.includes(kind as EnhancerKind);
  if (Array.isArray(given) && given.every(isKind)) return given;
  const wrong: unknown = Array.isArray(given)
    ? given.find((kind) => !isKind(kind))
    : given;
  throw invalidOption(
    'enhancers',
    wrong,
    `an array of ${ENHANCER_KINDS.map((kind) => `'${kind}'`).join(', ')}`,
  );
}

/** Not by its names, as it may be an object of a class of the user's. */
function resolveTelemetry(
  telemetry: ExpiryTelemetry | undefined,
): ExpiryTelemetry | undefined {
  if (telemetry === undefined) return undefined;
  if (typeof telemetry !== 'object' || telemetry === null)
    throw invalidOption('telemetry', telemetry, 'an object');
  const parts = telemetry as Record<string, unknown>;
  const isWrong = (name: string): boolean =>
    parts[name] !== undefined && typeof parts[name] !== 'function';
  if (isWrong('process'))
    throw invalidOption('telemetry.process', parts['process'], 'a function');
  if (isWrong('observe'))
    throw invalidOption('telemetry.observe', parts['observe'], 'a function');
  return telemetry;
}

function resolveRetry(retry: RetryOptions = {}): RetryPolicy {
  checkNames(retry, RETRY_OPTIONS, 'retry');
  const { backoff } = retry;
  const accepted = `milliseconds from 0 to ${LONGEST_TIMER_MS}, or a function of the attempt that returns them`;
  const isDelay = (value: unknown): value is number =>
    typeof value === 'number' && value >= 0 && value <= LONGEST_TIMER_MS;
  if (
    backoff !== undefined &&
    typeof backoff !== 'function' &&
    !isDelay(backoff)
  )
    throw invalidOption('retry.backoff', backoff, accepted);
  const exponential = (attempt: number): number =>
    Math.min(1_000 * 2 ** (attempt - 1), 3_600_000);
  return {
    attempts: count('retry.attempts', retry.attempts, 5),
    delay: (attempt) => {
      if (typeof backoff !== 'function') return backoff ?? exponential(attempt);
      // A user's function may fail when nobody is there to be told.
      try {
        const delay: unknown = backoff(attempt);
        return isDelay(delay) ? Math.round(delay) : exponential(attempt);
      } catch {
        return exponential(attempt);
      }
    },
  };
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
  const scanInterval = ms(
    'punctual.scanInterval',
    given.scanInterval,
    600_000,
    1_000,
  );
  const scanCount = count('punctual.scanCount', given.scanCount, 1_000);
  return { scanInterval, scanCount };
}

function resolveDeadLetters(
  given: RedisExpiryModuleOptions['deadLetters'] = {},
): LetterLimits {
  checkNames(given, DEAD_LETTER_OPTIONS, 'deadLetters');
  const { maxAge, maxCount } = DEFAULT_LETTER_LIMITS;
  return {
    // No timer waits for it: it may be longer than a timer can be.
    maxAge: wholeMs('deadLetters.maxAge', given.maxAge, maxAge),
    maxCount: count('deadLetters.maxCount', given.maxCount, maxCount),
  };
}

/** How a page of dead letters is asked for, checked. Throws `INVALID_OPTION_…`. */
export function resolvePage(given: { count?: number; after?: string } = {}): {
  readonly count: number;
  readonly after: string | undefined;
} {
  checkNames(given, ['count', 'after'], 'page');
  return { count: count('count', given.count, 100), after: given.after };
}
