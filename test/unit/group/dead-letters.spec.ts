import { describe, expect, it, onTestFinished } from 'vitest';
import { DeadLetters, readLetterId } from '../../../lib/group/dead-letters.js';
import { groupKeys } from '../../../lib/group/group-keys.js';
import { RunCounts } from '../../../lib/group/run-counts.js';
import { toPayload } from '../../../lib/group/stored-event.js';
import { commandsOn } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';

const payload = (key: string): string =>
  toPayload({
    ...{ redisKey: Buffer.from(key), deadline: 1, detected: 2 },
    ...{ source: 'notification', handler: undefined, tries: 1, passes: 0 },
    runs: RunCounts.none,
  });

describe('the dead letters of several partitions', () => {
  const server = useServer();
  const keysOf = (number: number) =>
    groupKeys('rx:', number === 0 ? 'g' : `g:${number}`);

  const lettersOf = (...numbers: number[]): DeadLetters =>
    lettersIn(() => numbers);
  function lettersIn(numbers: () => readonly number[]): DeadLetters {
    const commands = commandsOn(server);
    onTestFinished(() => commands.close());
    const partitions = () =>
      numbers().map((number) => ({
        ...{ commands, number, keys: keysOf(number) },
      }));
    return new DeadLetters(partitions, 'g', '');
  }
  const add = async (number: number, id: string): Promise<void> => {
    await server.redis.xadd(
      keysOf(number).dead,
      ...[id, 'p', payload(`k${number}-${id}`), 'e', 'on purpose'],
    );
  };

  it('are one list: by entry, and then by partition', async () => {
    const letters = lettersOf(0, 12, 2);
    for (const id of ['5-0', '5-1', '30-0']) await add(0, id);
    for (const id of ['5-1', '100-0']) await add(12, id);
    for (const id of ['4-7', '5-1', '18446744073709551615-2']) await add(2, id);
    const all = [
      ...['g/4-7@2', 'g/5-0', 'g/5-1', 'g/5-1@2', 'g/5-1@12', 'g/30-0'],
      ...['g/100-0@12', 'g/18446744073709551615-2@2'],
    ];

    expect((await letters.list(100)).map(({ id }) => id)).toEqual(all);
    for (const count of [1, 2, 3, 8]) {
      const paged: string[] = [];
      for (let after: string | undefined; ;) {
        const page = await letters.list(count, after);
        paged.push(...page.map(({ id }) => id));
        after = paged.at(-1);
        if (page.length < count) break;
      }
      expect(paged, `pages of ${count}`).toEqual(all);
    }
    expect((await letters.list(1, 'g/5-1'))[0]).toMatchObject({
      ...{ id: 'g/5-1@2', key: 'k2-5-1', group: 'g', at: new Date(5) },
    });
    // Also after one that is not there any more, or never was.
    expect((await letters.list(1, 'g/5-1@7'))[0]!.id).toBe('g/5-1@12');
  });

  it('are those of the partitions that there are at the time', async () => {
    let numbers = [0];
    const letters = lettersIn(() => numbers);
    for (const number of [0, 2]) await add(number, '5-1');
    expect(await letters.list(10)).toHaveLength(1);
    expect(await letters.discard('g/5-1@2')).toBe(false);

    numbers = [0, 2];
    expect((await letters.list(10)).map(({ id }) => id)).toEqual([
      ...['g/5-1', 'g/5-1@2'],
    ]);
    expect(await letters.discard('g/5-1@2')).toBe(true);
  });

  it('are redriven and discarded where they are', async () => {
    const letters = lettersOf(0, 3);
    await add(0, '5-1');
    await add(3, '5-1');
    await add(3, '6-1');

    expect(await letters.redrive('g/5-1@3')).toBe(true);
    expect(await letters.redrive('g/5-1@3')).toBe(false);
    expect(await letters.discard('g/6-1@3')).toBe(true);
    expect(await letters.discard('g/6-1')).toBe(false);
    // A partition that is not there any more has no letters.
    expect(await letters.discard('g/5-1@4')).toBe(false);
    expect(await letters.redrive('g/5-1@4')).toBe(false);

    const { redis } = server;
    expect(await redis.xlen(keysOf(3).events)).toBe(1);
    expect(await redis.exists(keysOf(0).events)).toBe(0);
    expect((await letters.list(10)).map(({ id }) => id)).toEqual(['g/5-1']);
  });
});

describe('the id of a dead letter', () => {
  it.for<[string, unknown]>([
    ['g/1-2', { group: 'g', partition: 0, entry: '1-2' }],
    ['g/1-2@7', { group: 'g', partition: 7, entry: '1-2' }],
    ['a/b@c/1-2@999999', { group: 'a/b@c', partition: 999_999, entry: '1-2' }],
    ...['g/1-2@0', 'g/1-2@07', 'g/1-2@', 'g/1-2@x', 'g/1-2@1000000'].map(
      (id): [string, unknown] => [id, undefined],
    ),
  ])('%s', ([id, expected]) => {
    expect(readLetterId(id)).toEqual(expected);
  });
});
