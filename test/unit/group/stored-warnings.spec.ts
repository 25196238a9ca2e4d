import { describe, expect, it, onTestFinished } from 'vitest';
import { ValueMemory } from '../../../lib/deadlines/value-memory.js';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { StoredWarnings } from '../../../lib/group/stored-warnings.js';
import { fromFields } from '../../../lib/group/stored-event.js';
import { now } from '../../support/expiring.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';
import { warningBookConformance } from '../../support/warning-book.conformance.js';

const server = useServer();

/** A leader's view of the warnings; its lease is `token`. */
function storedOn(before: number, isAsked = true): StoredWarnings {
  const commands = commandsOn(server);
  onTestFinished(() => commands.close());
  return new StoredWarnings(before, {
    ...{ token: 'token', keys: KEYS, commands, clock: new RedisClock() },
    values: { read: () => Promise.resolve(new ValueMemory()) },
    registry: {
      warnings: { befores: new Set(isAsked ? [before] : []) },
      warns: (key) => isAsked && key.toString().startsWith('k'),
    },
  });
}

async function warned(): Promise<string[]> {
  const entries = await server.redis.xrangeBuffer(KEYS.events, '-', '+');
  await server.redis.del(KEYS.events);
  return entries.map(([, fields]) => {
    const { redisKey, deadline, source } = fromFields(fields);
    return `${redisKey.toString()} ${deadline} ${source}`;
  });
}

warningBookConformance('StoredWarnings', async (before) => {
  const { redis } = server;
  await redis.set(KEYS.lease, 'token');
  return { book: storedOn(before), redis, warned };
});

describe('StoredWarnings', () => {
  const key = Buffer.from('k');
  const PREFIX = `${KEYS.warnings}:60000`;

  it('does nothing once the lease is another’s', async () => {
    const { redis } = server;
    const at = (await now(redis)) + 90_000;
    await redis.set(KEYS.lease, 'token');
    const book = storedOn(60_000);
    await book.learn([{ key, at }]);
    await redis.set('k', '1', 'PX', 50_000);
    await redis.set(KEYS.lease, 'other');

    const lost = expect.objectContaining({
      message: expect.stringContaining('LEASE lost'),
    });
    await expect(book.look([{ key, at }], 0)).rejects.toEqual(lost);
    await expect(book.recheck(0, () => true)).rejects.toEqual(lost);
    await expect(book.learn([{ key, at }])).rejects.toEqual(lost);
    expect(await warned()).toEqual([]);
    expect(await redis.zcard(`${PREFIX}:ahead`)).toBe(1);
  });

  it('appends what names the warning, and notes by which deadline the key was warned of', async () => {
    const { redis } = server;
    const began = await now(redis);
    await redis.set(KEYS.lease, 'token');
    const book = storedOn(60_000);
    await book.learn([{ key, at: began + 90_000 }]);
    await redis.set('k', '1', 'PXAT', began + 59_990);
    await book.look([{ key, at: began + 30_000 }], 0);

    const [entry] = await redis.xrangeBuffer(KEYS.events, '-', '+');
    expect(fromFields(entry![1])).toMatchObject({
      ...{ redisKey: key, deadline: began + 59_990, before: 60_000 },
      source: 'notification',
    });
    expect(await redis.zrange(`${PREFIX}:within`, '0', '-1')).toEqual(['k']);
  });

  it('leaves nothing behind of a before that nobody asks for any more', async () => {
    const { redis } = server;
    const at = (await now(redis)) + 90_000;
    await redis.set(KEYS.lease, 'token');
    await storedOn(60_000).learn([{ key, at }]);
    await redis.set('k', '1', 'PX', 50_000);
    expect(await redis.zrange(KEYS.befores, '0', '-1')).toEqual(['60000']);

    const book = storedOn(60_000, false);
    await book.look([{ key, at: at - 60_000 }], 0);
    await book.recheck(0, () => true);

    expect(await warned()).toEqual([]);
    expect(await redis.keys('rx:*')).toEqual([KEYS.lease]);
  });

  it('are known to be there for as long as some wait for another partition', async () => {
    const { redis } = server;
    await redis.set(KEYS.lease, 'token');
    await redis.zadd(KEYS.befores, 60_000, '60000');
    await redis.zadd(`${PREFIX}:away`, 5, 'k');
    const book = storedOn(60_000, false);

    await book.recheck(0, () => true);
    expect(await redis.exists(KEYS.befores)).toBe(1);

    await redis.del(`${PREFIX}:away`);
    await book.recheck(0, () => true);
    expect(await redis.exists(KEYS.befores)).toBe(0);
  });
});
