import { describe, expect, it } from 'vitest';
import type { Redis } from 'ioredis';
import type {
  KeyExpiredEvent,
  RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { onEveryServer, useServer } from '../../support/servers.js';

const INDEX = 'rx:{presence}:index';
const HOUR_S = 3_600;

/** Writes keys that live on. */
async function fill(redis: Redis, keys: readonly string[]): Promise<void> {
  const pipeline = redis.pipeline();
  for (const key of keys) pipeline.set(key, '', 'EX', HOUR_S);
  await pipeline.exec();
}

/** A group that is ready, the keys whose expiry it handles, and the node that it listens to. */
async function ready(
  server: Parameters<typeof groupApp>[0],
  options: RedisExpiryModuleOptions = {},
) {
  const events = collect<KeyExpiredEvent>();
  const app = await groupApp(server, [handler('k*', events.add)], options);
  await app.subscriber.ready();
  const node = () => app.subscriber.status().groups[0]!.nodes[0]!;
  return { ...app, events, node };
}

onEveryServer('a group whose keys dominate the database', (server) => {
  it('hears all that happens to its keys by named keyevent channels, but no renewals', async () => {
    const { redis } = server;
    await fill(redis, names('k', 1_500));
    await fill(redis, names('other', 500));

    const { node, events } = await ready(server);

    expect(node()).toMatchObject({
      ...{ state: 'listening', gaps: 0, selfTest: 'passed' },
      ...{ channels: 'keyevent', renewals: 'not heard' },
      lastScan: { keys: 1_500 },
    });
    expect(node().lastScan!.volatile).toBeGreaterThanOrEqual(2_000);
    expect(await redis.pubsub('NUMPAT')).toBe(0);
    const channels = (await redis.pubsub('CHANNELS')) as string[];
    expect(
      channels.map((name) => name.replace(/^.*__:/, '')).toSorted(),
    ).toEqual(['del', 'evicted', 'expired', 'move_from', 'new', 'rename_from']);

    await redis.set('k-new', '', 'PX', 300);
    expect(await events.one()).toMatchObject({
      ...{ key: 'k-new', source: 'notification' },
    });
    await redis.del('k0', 'other0');
    await redis.rename('k1', 'renamed');
    await redis.move('k2', 1);
    // The index forgets them long before they would have run out.
    await eventually(async () => expect(await redis.zcard(INDEX)).toBe(1_497));
    await groupIsDone(server);
    expect(events.all).toHaveLength(1);
  });

  it("hears renewals all the same with renewals: 'heard'", async () => {
    await fill(server.redis, names('k', 1_500));

    const { node } = await ready(server, { renewals: 'heard' });

    expect(node()).toMatchObject({ channels: 'keyspace', renewals: 'heard' });
    expect(node().lastScan).not.toHaveProperty('volatile');
  });
});

describe('a group hears renewals', () => {
  const server = useServer();

  it.each([
    ['that has few keys', 200, 0],
    ['whose keys are few beside others', 1_500, 1_500],
  ])('%s', async (_, own, others) => {
    await fill(server.redis, names('k', own));
    await fill(server.redis, names('other', others));

    const { node } = await ready(server);

    expect(node()).toMatchObject({ channels: 'keyspace', renewals: 'heard' });
  });

  it('where the ACL grants no keyevent channels', async () => {
    await server.redis.acl(
      'SETUSER',
      ...['limited', 'on', '>secret', '+@all', '~*', 'resetchannels'],
      ...['&__keyspace@0__:k*', '&__keyspace@0__:rx:self-test:*'],
    );
    await fill(server.redis, names('k', 1_500));

    const { node } = await ready(server, {
      connection: {
        host: server.host,
        port: server.port,
        username: 'limited',
        password: 'secret',
      },
    });

    expect(node()).toMatchObject({
      ...{ state: 'listening', gaps: 0 },
      ...{ channels: 'keyspace', renewals: 'heard' },
    });
  });

  it('where keyevent channels are off and may not be switched on', async () => {
    await server.setFlags('Kgxn');
    await fill(server.redis, names('k', 1_500));

    const { node } = await ready(server, { notifications: 'verify' });

    expect(node()).toMatchObject({
      ...{ state: 'listening', gaps: 0 },
      ...{ channels: 'keyspace', renewals: 'heard' },
    });
    expect(await server.flags()).not.toContain('E');
  });
});

describe('a TTL that is shortened', () => {
  // Redis itself looks for no expired keys: somebody has to know the deadline.
  const server = useServer({ args: ['--enable-debug-command', 'local'] });

  it.each([
    ['at once where renewals are heard', 'heard', 600_000],
    ['at the next scan where they are not', 'auto', 2_000],
  ] as const)('is learnt %s', async (_, renewals, scanInterval) => {
    const { redis } = server;
    await redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
    await fill(redis, names('k', 1_500));
    const punctual = { scanInterval };
    const { node, events } = await ready(server, { renewals, punctual });
    expect(node().renewals).toBe(renewals === 'heard' ? 'heard' : 'not heard');
    const scannedAt = (): number => node().lastScan!.at.getTime();
    const first = scannedAt();

    const [soon, later] = [Date.now() + 300, Date.now() + 4_000];
    await redis.pexpireat('k7', soon);
    await redis.pexpireat('k8', later);
    expect(scannedAt()).toBe(first);
    const event = await events.one();

    // What had run out by the scan, the scan finds: nobody knew its deadline.
    const isHeard = renewals === 'heard';
    expect(event).toMatchObject({ key: 'k7', source: 'notification' });
    expect(event.deadline?.getTime()).toBe(isHeard ? soon : undefined);
    const { key, deadline } = await events.one();
    expect({ key, at: deadline?.getTime() }).toEqual({ key: 'k8', at: later });
    expect(scannedAt() > first).toBe(!isHeard);
    await groupIsDone(server);
    expect(events.all).toHaveLength(2);
  });
});
