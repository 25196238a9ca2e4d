import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import * as imported from 'nestjs-redis-expiry';

const { exports } = createRequire(import.meta.url)(
  'nestjs-redis-expiry/package.json',
);
assert.deepEqual(Object.keys(exports).sort(), [
  '.',
  './otel',
  './package.json',
  './terminus',
  './testing',
]);
assert.deepEqual(Object.keys(imported).sort(), [
  'OnKeyExpired',
  'OnKeyExpiring',
  'RedisExpiryError',
  'RedisExpiryKeys',
  'RedisExpiryModule',
  'RedisExpirySubscriber',
]);
assert.equal(typeof imported.RedisExpiryModule.forRoot, 'function');
assert.equal(typeof imported.RedisExpiryModule.forRootAsync, 'function');
await assert.rejects(import('nestjs-redis-expiry/dist/index.js'), {
  code: 'ERR_PACKAGE_PATH_NOT_EXPORTED',
});

// What an optional peer is for is there with it, and says what is missing without it; the rest needs neither.
const optional = {
  'nestjs-redis-expiry/otel': ['@opentelemetry/api', 'openTelemetry'],
  'nestjs-redis-expiry/terminus': [
    '@nestjs/terminus',
    'RedisExpiryHealthIndicator',
  ],
};
const { dependencies } = createRequire(import.meta.url)('./package.json');
for (const [entry, [peer, name]] of Object.entries(optional)) {
  if (peer in dependencies)
    assert.deepEqual(Object.keys(await import(entry)), [name]);
  else
    await assert.rejects(import(entry), {
      code: 'ERR_MODULE_NOT_FOUND',
      message: new RegExp(peer),
    });
}
