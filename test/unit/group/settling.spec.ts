import { describe, expect, it, onTestFinished } from 'vitest';
import type { Verdict } from '../../../lib/deadlines/deadline-index.js';
import { Settling } from '../../../lib/group/settling.js';
import { ObservedIndex, eventsOf } from '../../support/group/judging.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import { type TestServer, useServer } from '../../support/servers.js';

const LOST = 'the connection closed';
const NOW = 1_000;

const expired = (key: string, seen?: number): Verdict => ({
  ...{ key: Buffer.from(key), seen, at: undefined },
  fire: { source: 'notification', deadline: seen },
});

async function settlingOn(server: TestServer) {
  const commands = commandsOn(server);
  onTestFinished(() => commands.close());
  await server.redis.set(KEYS.lease, 'token');
  const index = new ObservedIndex(commands, KEYS);
  index.token = 'token';
  const answers: string[] = [];
  /** Notes who was told of what, and whether it was applied. */
  const by =
    (name: string) =>
    (verdicts: readonly Verdict[], applied: readonly boolean[]): void => {
      verdicts.forEach(({ key }, i) =>
        answers.push(`${name} ${key.toString()} ${applied[i]}`),
      );
    };
  return {
    index,
    settling: new Settling(index),
    answers,
    by,
    keysOfEvents: async () =>
      (await eventsOf(server)).map(({ redisKey }) => redisKey.toString()),
  };
}

type Parts = Awaited<ReturnType<typeof settlingOn>>;

/** It is done, and no answer comes. */
const loseAnswers = ({ index }: Parts): void => {
  index.after = () => Promise.reject(new Error(LOST));
};
/** It is not done, as no connection is made. */
const loseRequests = ({ index }: Parts): void => {
  index.before = () => Promise.reject(new Error(LOST));
};
const recover = ({ index }: Parts): void => {
  index.before = index.after = () => Promise.resolve();
};

describe('Settling', () => {
  const server = useServer();

  it.each([
    ['answer', loseAnswers],
    ['request', loseRequests],
  ])(
    'does a request once whose %s was lost, and tells when it is asked again',
    async (_, lose) => {
      const parts = await settlingOn(server);
      const { settling, answers, by, keysOfEvents } = parts;
      lose(parts);
      // Neither is in the index: no score tells whether it was done.
      const verdicts = [expired('a'), expired('b')];
      await expect(settling.settle(verdicts, NOW, by('A'))).rejects.toThrow(
        LOST,
      );
      expect(answers).toEqual([]);
      await expect(settling.prepare()).rejects.toThrow(LOST);

      recover(parts);
      await settling.prepare();
      await settling.prepare();

      expect(answers).toEqual(['A a true', 'A b true']);
      expect(await keysOfEvents()).toEqual(['a', 'b']);
    },
  );

  it('answers what one node asked before it asks for another', async () => {
    const parts = await settlingOn(server);
    const { index, settling, answers, by, keysOfEvents } = parts;
    await index.enrol([{ key: Buffer.from('c'), at: 5 }]);
    loseAnswers(parts);
    await Promise.all(
      ['A', 'B'].map((name) =>
        expect(
          settling.settle([expired(`of ${name}`)], NOW, by(name)),
        ).rejects.toThrow(LOST),
      ),
    );

    recover(parts);
    await settling.settle([expired('c', 5), expired('d', 6)], NOW, by('C'));

    // B's was never sent: A's had no answer yet.
    expect(answers).toEqual(['A of A true', 'C c true', 'C d false']);
    expect(await keysOfEvents()).toEqual(['of A', 'c']);
  });

  it('settles more than one request takes, and one key twice, in turn', async () => {
    const { index, settling, answers, by, keysOfEvents } =
      await settlingOn(server);
    const names = Array.from({ length: 2_500 }, (_, i) => `k${i}`);
    await index.enrol(names.map((name) => ({ key: Buffer.from(name), at: 5 })));
    const again: Verdict = { key: Buffer.from('k7'), seen: 9, at: undefined };

    await settling.settle(
      [
        { key: Buffer.from('k7'), seen: 5, at: 9 },
        again,
        ...names.filter((name) => name !== 'k7').map((n) => expired(n, 5)),
      ],
      NOW,
      by('A'),
    );

    expect(answers).toHaveLength(2_501);
    expect(answers.filter((each) => !each.endsWith('true'))).toEqual([]);
    expect(await keysOfEvents()).toHaveLength(2_499);
    expect(await index.size()).toBe(0);
  });

  it('asks no more for what the server refused to do', async () => {
    const parts = await settlingOn(server);
    const { settling, answers, by, keysOfEvents } = parts;
    await server.redis.set(KEYS.lease, 'another');
    await expect(settling.settle([expired('a')], NOW, by('A'))).rejects.toThrow(
      /^LEASE/,
    );
    await settling.prepare();
    await server.redis.set(KEYS.lease, 'token');

    await settling.settle([expired('b')], NOW, by('B'));

    expect(answers).toEqual(['B b true']);
    expect(await keysOfEvents()).toEqual(['b']);
  });

  it('asks again when a server that was out of memory has some', async () => {
    const parts = await settlingOn(server);
    const { index, settling, answers, by, keysOfEvents } = parts;
    await index.enrol([{ key: Buffer.from('c'), at: 5 }]);
    await server.redis.config('SET', 'maxmemory', '1');
    await expect(
      settling.settle([expired('a'), expired('c', 5)], NOW, by('A')),
    ).rejects.toThrow('OOM');
    expect(await index.size()).toBe(1);
    await server.redis.config('SET', 'maxmemory', '0');

    await settling.prepare();

    expect(answers).toEqual(['A a true', 'A c true']);
    expect(await keysOfEvents()).toEqual(['a', 'c']);
  });

  it('takes keys out of the index while the server is out of memory, and tells so once', async () => {
    const { index, settling, answers, by } = await settlingOn(server);
    await index.enrol([{ key: Buffer.from('c'), at: 5 }]);
    await server.redis.config('SET', 'maxmemory', '1');
    const gone = { ...expired('c', 5), fire: undefined };

    await settling.settle([gone], NOW, by('A'));
    await settling.settle([gone], NOW, by('B'));
    await server.redis.config('SET', 'maxmemory', '0');

    expect(answers).toEqual(['A c true', 'B c false']);
  });
});

describe('a request to settle', () => {
  const server = useServer();

  it('is answered as the first time, and done no more, when it comes again', async () => {
    const { index, keysOfEvents } = await settlingOn(server);
    const request = index.settleRequest([expired('a'), expired('b', 5)], NOW);

    expect(await index.send(request)).toEqual([true, false]);
    expect(await index.send(request)).toEqual([true, false]);

    expect(await keysOfEvents()).toEqual(['a']);
  });

  it('is refused when it comes after a newer one', async () => {
    const { index, keysOfEvents } = await settlingOn(server);
    const late = index.settleRequest([expired('late')], NOW);
    await index.send(index.settleRequest([expired('newer')], NOW));

    await expect(index.send(late)).rejects.toThrow(/^STALE/);

    expect(await keysOfEvents()).toEqual(['newer']);
  });

  it('of one holder of the lease is none of the next one, though their numbers are the same', async () => {
    const first = await settlingOn(server);
    await first.index.send(first.index.settleRequest([expired('a')], NOW));
    const second = await settlingOn(server);
    // A token may be anything.
    second.index.token = 'another 1 ';
    await server.redis.set(KEYS.lease, second.index.token);

    const request = second.index.settleRequest([expired('b')], NOW);
    expect(await second.index.send(request)).toEqual([true]);
    expect(await second.index.send(request)).toEqual([true]);

    expect(await second.keysOfEvents()).toEqual(['a', 'b']);
  });
});
