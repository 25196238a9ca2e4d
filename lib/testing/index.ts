/**
 * The test kit: handlers run without Redis. Begin with `ExpiryTester`.
 *
 * @module nestjs-redis-expiry/testing
 */
export {
  type AdvancedExpiry,
  ExpiryTester,
  type OverridableBuilder,
} from './expiry-tester.js';
export { keyExpiredEvent } from './key-expired-event.js';
export { keyExpiringEvent } from './key-expiring-event.js';
export type { GivenValue } from './memory-value.js';
export type { HandledExpiry } from './runs.js';
