import { Test, type TestingModule } from '@nestjs/testing';
import { Redis } from 'ioredis';
import { RedisExpiryModule } from 'nestjs-redis-expiry';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
// Starts a server for this file. In your project use the one that your CI has, or redis-memory-server.
import { RedisServer } from '../../test/support/redis/redis-server.mjs';
import { PresenceService } from './presence.service.js';

let server: RedisServer;
let redis: Redis;
let moduleRef: TestingModule;

beforeAll(async () => {
  server = await RedisServer.start();
  redis = new Redis(server.url);
  moduleRef = await Test.createTestingModule({
    imports: [RedisExpiryModule.forRoot({ connection: server.url })],
    providers: [PresenceService],
  }).compile();
  await moduleRef.init(); // The handler is listening when this resolves.
});

afterAll(async () => {
  await moduleRef?.close();
  redis?.disconnect();
  await server?.stop();
});

it('hears the expiry of a real key', async () => {
  await redis.set('device:42', 'here', 'PX', 1);

  const { offline } = moduleRef.get(PresenceService);
  await vi.waitFor(() => expect([...offline.keys()]).toEqual(['42']));
});
