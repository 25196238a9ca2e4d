const assert = require('node:assert/strict');
const required = require('nestjs-redis-expiry');

assert.deepEqual(Object.keys(required).sort(), [
  'OnKeyExpired',
  'OnKeyExpiring',
  'RedisExpiryError',
  'RedisExpiryKeys',
  'RedisExpiryModule',
  'RedisExpirySubscriber',
]);
assert.equal(typeof required.RedisExpiryModule.forRoot, 'function');
assert.equal(typeof required.RedisExpiryModule.forRootAsync, 'function');

// One copy for both ways of loading: two would be two modules to Nest's injection.
void import('nestjs-redis-expiry').then((imported) => {
  assert.equal(imported.RedisExpiryModule, required.RedisExpiryModule);
});
