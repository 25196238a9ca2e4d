import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import * as imported from 'nestjs-redis-expiry';

const { exports } = createRequire(import.meta.url)(
  'nestjs-redis-expiry/package.json',
);
assert.deepEqual(Object.keys(exports).sort(), [
  '.',
  './package.json',
  './testing',
]);
assert.deepEqual(Object.keys(imported).sort(), [
  'OnKeyExpired',
  'RedisExpiryError',
  'RedisExpiryModule',
  'RedisExpirySubscriber',
]);
assert.equal(typeof imported.RedisExpiryModule.forRoot, 'function');
assert.equal(typeof imported.RedisExpiryModule.forRootAsync, 'function');
await assert.rejects(import('nestjs-redis-expiry/dist/index.js'), {
  code: 'ERR_PACKAGE_PATH_NOT_EXPORTED',
});
