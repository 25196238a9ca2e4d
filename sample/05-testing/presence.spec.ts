import { Test, type TestingModule } from '@nestjs/testing';
import { RedisExpiryModule } from 'nestjs-redis-expiry';
import { ExpiryTester, keyExpiredEvent } from 'nestjs-redis-expiry/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PresenceService } from './presence.service.js';

describe('the method alone', () => {
  it('notes who is offline', () => {
    const presence = new PresenceService();

    presence.wentOffline(keyExpiredEvent('device:42', { pattern: 'device:*' }));

    expect([...presence.offline.keys()]).toEqual(['42']);
  });
});

describe('the application, without Redis', () => {
  let expiry: ExpiryTester;
  let moduleRef: TestingModule;

  beforeEach(async () => {
    expiry = new ExpiryTester();
    const builder = Test.createTestingModule({
      imports: [RedisExpiryModule.forRoot({ group: 'presence' })],
      providers: [PresenceService],
    });
    moduleRef = await expiry.install(builder).compile();
    await moduleRef.init();
  });
  afterEach(() => moduleRef.close());

  it('runs the handler when a key expires', async () => {
    const { handled } = await expiry.expire('device:42');

    expect(handled).toMatchObject([
      { handler: 'PresenceService.wentOffline', result: '42' },
    ]);
  });

  it('does not run it while heartbeats come', async () => {
    for (let beat = 0; beat < 3; beat++) {
      expiry.set('device:42', { ttl: 30_000 });
      expect(await expiry.advance(20_000)).toEqual({ handled: [] });
    }

    const { handled } = await expiry.advance(10_001);
    expect(handled).toHaveLength(1);
  });
});
