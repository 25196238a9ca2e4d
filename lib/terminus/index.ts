export { RedisExpiryHealthIndicator } from './redis-expiry.health.js';
export type { HealthLimits, Trouble } from './troubles.js';
