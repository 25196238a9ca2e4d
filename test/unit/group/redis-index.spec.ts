import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeDeadlineIndex } from '../../support/deadline-index.conformance.js';
import { indexOn } from '../../support/group/parts.js';
import { TestServer, useServer } from '../../support/servers.js';

const conformance = new TestServer();
beforeAll(() => conformance.start());
afterAll(() => conformance.stop());

describeDeadlineIndex('RedisIndex', async () => {
  await conformance.reset();
  const { index, close } = await indexOn(conformance);
  return { index, close: () => Promise.resolve(close()) };
});

describe('RedisIndex', () => {
  const server = useServer();
  const KEY = Buffer.from('k');

  it('refuses to settle without the lease, and changes nothing', async () => {
    const { index, close, keys } = await indexOn(server);
    await index.enrol([{ key: KEY, at: 5 }]);
    await server.redis.set(keys.lease, 'another');

    await expect(
      index.settle([
        {
          key: KEY,
          seen: 5,
          at: undefined,
          fire: { source: 'notification', deadline: 5 },
        },
      ]),
    ).rejects.toThrow(/^LEASE/);
    await server.redis.del(keys.lease);
    await expect(index.settle([{ key: KEY, seen: 5, at: 9 }])).rejects.toThrow(
      /^LEASE/,
    );

    expect(await index.scores([KEY])).toEqual([5]);
    expect(await server.redis.xlen(keys.events)).toBe(0);
    close();
  });

  it('appends an event in the step that takes the entry, once', async () => {
    const { index, close, keys } = await indexOn(server);
    const binary = Buffer.from([0xff, 0, 0x0a, 0x80]);
    await index.enrol([{ key: binary, at: 5 }]);
    const fire = { source: 'recovery', deadline: 5 } as const;
    const verdict = { key: binary, seen: 5, at: undefined, fire };

    const applied = await Promise.all(
      Array.from({ length: 10 }, () => index.settle([verdict], 7)),
    );

    expect(applied.flat().filter(Boolean)).toHaveLength(1);
    const entries = await server.redis.xrangeBuffer(keys.events, '-', '+');
    expect(entries).toHaveLength(1);
    expect(entries[0]![1]).toEqual(
      ['k', binary, 'd', '5', 't', '7', 's', 'recovery'].map((part) =>
        Buffer.from(part as string),
      ),
    );
    expect(await index.size()).toBe(0);
    close();
  });

  it('appends an event of a key that it does not know, unless it knows it by then', async () => {
    const { index, close, keys } = await indexOn(server);
    const fire = { source: 'notification', deadline: undefined } as const;
    const verdict = { key: KEY, seen: undefined, at: undefined, fire };

    expect(await index.settle([verdict], 1)).toEqual([true]);
    await index.enrol([{ key: KEY, at: 99 }]);
    expect(await index.settle([verdict], 1)).toEqual([false]);

    expect(await server.redis.xlen(keys.events)).toBe(1);
    expect(await index.scores([KEY])).toEqual([99]);
    close();
  });

  it('pages through all of its entries', async () => {
    const { index, close } = await indexOn(server);
    const all = Array.from({ length: 3_000 }, (_, i) => ({
      key: Buffer.from(`k${i}`),
      at: i,
    }));
    await index.enrol(all);
    const seen = new Map<string, number>();
    let cursor = '0';
    do {
      const page = await index.page(cursor, 200);
      for (const { key, at } of page.entries) seen.set(key.toString(), at);
      cursor = page.cursor;
    } while (cursor !== '0');

    expect([...seen].toSorted(([, a], [, b]) => a - b)).toEqual(
      all.map(({ key, at }) => [key.toString(), at]),
    );
    expect(await index.scores([all[7]!.key, Buffer.from('unknown')])).toEqual([
      7,
      undefined,
    ]);
    close();
  });
});
