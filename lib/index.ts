/**
 * Runs methods of a Nest application when keys of Redis expire. Begin with `RedisExpiryModule` and `OnKeyExpired`.
 *
 * @module nestjs-redis-expiry
 */
export { RedisExpiryModule } from './redis-expiry.module.js';
export { RedisExpiryKeys, type ArmedKey } from './redis-expiry.keys.js';
export { RedisExpirySubscriber } from './redis-expiry.subscriber.js';
export { OnKeyExpired } from './decorators/on-key-expired.decorator.js';
export { OnKeyExpiring } from './decorators/on-key-expiring.decorator.js';
export {
  RedisExpiryError,
  type RedisExpiryErrorCode,
} from './errors/redis-expiry.error.js';
export type { KeyExpiredEvent } from './dispatch/key-expired-event.js';
export type { KeyExpiringEvent } from './dispatch/key-expiring-event.js';
export type { ValueForm } from './dispatch/event-value.js';
export type { ExpiryTelemetry } from './engine/telemetry.js';
export type { TriedHandler } from './dispatch/observed-try.js';
export type {
  KeyExpiredHandler,
  KeyExpiringHandler,
  OnKeyExpiredOptions,
  OnKeyExpiringOptions,
  RetryOptions,
} from './dispatch/handler-options.js';
export type {
  EnhancerKind,
  RedisExpiryModuleOptions,
} from './engine/module-options.js';
export type {
  RedisExpiryModuleAsyncOptions,
  RedisExpiryOptionsFactory,
} from './interfaces/module-options.interface.js';
export type {
  ArmEntry,
  ArmOptions,
  KeyGroup,
  RenewOptions,
} from './engine/key-checks.js';
export type { ExpirySubscription, RedisExpiryStatus } from './engine/status.js';
export type {
  ClusterConnection,
  ConnectionForm,
  ConnectionOption,
} from './connection/connection-option.js';
export type { ExpiryCounters } from './dispatch/counters.js';
export type { NotificationsMode } from './listening/flag-keeper.js';
export type { ListeningGap } from './listening/gap.js';
export type { ChannelFamily } from './listening/channels.js';
export type {
  Learning,
  ListenerState,
  NodeStatus,
} from './listening/node-status.js';
export type { ServerRole } from './listening/server-identity.js';
export type { LongRunningHandler } from './dispatch/long-runs.js';
export type { LatenessHistogram } from './dispatch/lateness-histogram.js';
export type { GapTotalsStatus } from './listening/gap-totals.js';
export type { LatenessStatus } from './dispatch/lateness-window.js';
export type {
  DeadlineStatus,
  ScanReport,
} from './listening/deadline-keeper.js';
export type { DeadLetter } from './group/dead-letters.js';
export type { GroupStatus } from './group/consumer-group.js';
export type { PartitionStatus } from './group/partition-member.js';
