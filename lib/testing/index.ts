export {
  type AdvancedExpiry,
  ExpiryTester,
  type OverridableBuilder,
} from './expiry-tester.js';
export { keyExpiredEvent } from './key-expired-event.js';
export type { HandledExpiry } from './runs.js';
