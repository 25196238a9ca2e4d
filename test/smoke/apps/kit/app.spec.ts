import { Test, type TestingModule } from '@nestjs/testing';
import { ExpiryTester } from 'nestjs-redis-expiry/testing';
import { AppModule } from './app.module';

describe('presence', () => {
  const expiry = new ExpiryTester();
  let moduleRef: TestingModule;

  beforeAll(async () => {
    const builder = Test.createTestingModule({ imports: [AppModule] });
    moduleRef = await expiry.install(builder).compile();
    await moduleRef.init();
  });
  afterAll(() => moduleRef.close());

  it('notes that a device is offline', async () => {
    const { handled } = await expiry.expire('device:42');

    expect(handled).toEqual([
      {
        handler: 'PresenceService.onOffline',
        pattern: 'device:*',
        attempt: 1,
        result: { offline: '42' },
      },
    ]);
  });

  it('knows the time', async () => {
    expiry.set('device:7', { ttl: 30_000 });

    const { handled } = await expiry.advance(30_001);

    expect(handled).toHaveLength(1);
  });

  it('finds a pattern that nothing matches', async () => {
    await expect(expiry.expire('devcie:42')).rejects.toMatchObject({
      code: 'NO_HANDLER',
    });
  });
});
