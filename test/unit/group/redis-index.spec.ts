import { describe, expect, it } from 'vitest';
import { indexOn } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';

describe('RedisIndex', () => {
  const server = useServer();
  const KEY = Buffer.from('k');

  it('has the sooner look of a key, and tells what is due and what comes next', async () => {
    const { index, close } = await indexOn(server);
    const other = Buffer.from([0xff, 0, 0x0a, 0x80]);
    await index.enrol([
      { key: KEY, at: 50 },
      { key: other, at: 7 },
    ]);
    await index.enrol([{ key: KEY, at: 60 }]);
    await index.enrol([{ key: other, at: 5 }]);

    expect(await index.peek(50, 10)).toEqual({
      due: [{ key: other, at: 5 }],
      next: 50,
    });
    expect(await index.peek(51, 1)).toMatchObject({ due: [{ at: 5 }] });
    expect(await index.peek(51, 10)).toMatchObject({
      ...{ due: [{ at: 5 }, { at: 50 }], next: undefined },
    });
    expect(await index.size()).toBe(2);
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
