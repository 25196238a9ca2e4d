import {
  type INestApplicationContext,
  Module,
  ServiceUnavailableException,
} from '@nestjs/common';
import {
  HealthCheckService,
  type HealthCheckResult,
  TerminusModule,
} from '@nestjs/terminus';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
  RedisExpirySubscriber,
} from '../../../lib/index.js';
import {
  type HealthLimits,
  RedisExpiryHealthIndicator,
} from '../../../lib/terminus/index.js';
import { createApp } from '../../support/app.js';
import { eventually } from '../../support/eventually.js';
import { handler } from '../../support/group/app.js';
import { paced } from '../../support/paced.js';
import { TestServer } from '../../support/servers.js';

/** What the health check of an application answers, up or down. */
async function checkOf(
  app: INestApplicationContext,
  limits?: HealthLimits,
): Promise<HealthCheckResult> {
  const terminus = app.get(HealthCheckService, { strict: false });
  const indicator = app.get(RedisExpiryHealthIndicator, { strict: false });
  try {
    return await terminus.check([
      () => indicator.isHealthy('redis-expiry', limits),
    ]);
  } catch (error) {
    if (!(error instanceof ServiceUnavailableException)) throw error;
    return error.getResponse() as HealthCheckResult;
  }
}

async function startServer(): Promise<TestServer> {
  const server = await new TestServer().start();
  onTestFinished(() => server.stop());
  return server;
}

async function appOn(
  server: TestServer,
  options: RedisExpiryModuleOptions = {},
  work: () => unknown = () => undefined,
): Promise<INestApplicationContext> {
  const redisExpiry = RedisExpiryModule.forRoot({
    connection: server.url,
    shutdownTimeout: 500,
    retry: { attempts: 1 },
    ...options,
  });
  @Module({
    imports: [TerminusModule, redisExpiry],
    providers: [RedisExpiryHealthIndicator],
  })
  class HealthModule {}
  const { app } = await createApp({
    imports: [redisExpiry, HealthModule],
    providers: [handler('device:*', work)],
  });
  return app;
}

describe.each([
  ['broadcast', {}, 1_000],
  ['a group', { group: 'presence' }, 5_000],
])('the health of %s', (_mode, options, maxGap) => {
  it('is down within maxGap when Redis is killed, and up again after it came back', async () => {
    const server = await startServer();
    const app = await appOn(server, options);
    const check = () => checkOf(app, { maxGap });
    await eventually(async () =>
      expect(await check()).toMatchObject({
        status: 'ok',
        details: { 'redis-expiry': { status: 'up', waiting: 0 } },
      }),
    );

    const killedAt = Date.now();
    await server.kill();
    let down: HealthCheckResult | undefined;
    await eventually(async () => {
      down = await check();
      expect(down.status).toBe('error');
    });
    // What a check sees is at most as old as the gap that is allowed, but for this test's own steps.
    expect(Date.now() - killedAt).toBeLessThan(maxGap + paced(1_000));
    const { status, troubles } = down!.details['redis-expiry']!;
    expect(status).toBe('down');
    const [trouble] = troubles as { since: Date; reason: string }[];
    expect(trouble).toMatchObject({ limit: 'maxGap' });
    expect(trouble!.since.getTime()).toBeLessThan(killedAt + paced(1_000));
    expect(trouble!.since.getTime()).toBeGreaterThan(killedAt - 10_000);
    expect(trouble!.reason).not.toBe('');

    await server.restart();
    await eventually(async () => expect((await check()).status).toBe('ok'));
  });
});

describe('the health of a group', () => {
  it('is down while nobody leads, though Redis is there', async () => {
    const server = await startServer();
    const app = await appOn(server, { group: 'presence' });
    await eventually(async () =>
      expect((await checkOf(app)).status).toBe('ok'),
    );
    // Somebody holds the lease and never does anything, and then it is not even renewed.
    await server.redis.call('ACL', 'SETUSER', 'default', '-eval', '-evalsha');

    const check = () => checkOf(app, { maxGap: 3_000 });
    await eventually(async () =>
      expect(await check()).toMatchObject({
        details: {
          'redis-expiry': {
            status: 'down',
            troubles: expect.arrayContaining([
              expect.objectContaining({
                group: 'presence',
                limit: 'maxGap',
                reason: expect.stringContaining('no instance is known to lead'),
              }),
            ]),
          },
        },
      }),
    );
    await server.redis.call('ACL', 'SETUSER', 'default', '+eval', '+evalsha');
    await eventually(async () => expect((await check()).status).toBe('ok'));
  });

  it('is down with more dead letters than are allowed, and says since when', async () => {
    const server = await startServer();
    const app = await appOn(server, { group: 'presence' }, () => {
      throw new Error('no');
    });
    const check = () => checkOf(app, { maxDead: 1 });
    await server.expire('device:1');
    const subscriber = app.get(RedisExpirySubscriber, { strict: false });
    await eventually(() => expect(subscriber.status().groups[0]!.dead).toBe(1));
    expect((await check()).status).toBe('ok');
    await server.expire('device:2');

    let first: unknown;
    await eventually(async () => {
      const { troubles } = (await check()).details['redis-expiry']!;
      [first] = troubles as unknown[];
      expect(first).toEqual({
        group: 'presence',
        limit: 'maxDead',
        since: expect.any(Date),
        reason: 'there are 2 dead letters',
      });
    });
    expect((await check()).details['redis-expiry']!['troubles']).toEqual([
      first,
    ]);
  });
});
