export { RedisExpiryModule } from './redis-expiry.module.js';
export { RedisExpirySubscriber } from './redis-expiry.subscriber.js';
export { OnKeyExpired } from './decorators/on-key-expired.decorator.js';
export {
  RedisExpiryError,
  type RedisExpiryErrorCode,
} from './errors/redis-expiry.error.js';
export type { KeyExpiredEvent } from './interfaces/key-expired-event.interface.js';
export type {
  KeyExpiredHandler,
  OnKeyExpiredOptions,
  RetryOptions,
} from './interfaces/handler-options.interface.js';
export type {
  RedisExpiryModuleAsyncOptions,
  RedisExpiryModuleOptions,
  RedisExpiryOptionsFactory,
} from './interfaces/module-options.interface.js';
export type {
  ExpirySubscription,
  RedisExpiryStatus,
} from './interfaces/status.interface.js';
export type {
  ClusterConnection,
  ConnectionOption,
} from './connection/connection-option.js';
export type { ExpiryCounters } from './handlers/counters.js';
export type { NotificationsMode } from './keyspace/flag-keeper.js';
export type { ListeningGap } from './keyspace/gap.js';
export type { ListenerState, NodeStatus } from './keyspace/node-status.js';
export type { LongRunningHandler } from './handlers/long-runs.js';
export type { LatenessStatus } from './handlers/lateness-window.js';
export type { DeadlineStatus, ScanReport } from './keyspace/node-observer.js';
export type { DeadLetter } from './group/dead-letters.js';
export type { GroupStatus } from './group/consumer-group.js';
