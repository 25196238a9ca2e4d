import { describe, expect, it, onTestFinished } from 'vitest';
import type { Verdict } from '../../../lib/deadlines/deadline-index.js';
import { Settling } from '../../../lib/group/settling.js';
import { TermFence } from '../../../lib/group/term-fence.js';
import { ObservedIndex, eventsOf } from '../../support/group/judging.js';
import { settler } from '../../support/group/settled-index.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import { type TestServer, useServer } from '../../support/servers.js';

const LOST = 'the connection closed';
const NOW = 1_000;

const expired = (key: string, seen?: number): Verdict => ({
  ...{ key: Buffer.from(key), seen, at: undefined },
  fire: { source: 'notification', deadline: seen },
});

async function settlingOn(server: TestServer, token = 'token') {
  const commands = commandsOn(server);
  onTestFinished(() => commands.close());
  await server.redis.set(KEYS.lease, token);
  const index = new ObservedIndex(commands, KEYS, new TermFence(token));
  const answers: string[] = [];
  /** Notes who was told of what, and whether it was applied, and late, or forgotten. */
  const by = (name: string, isFresh = () => true) =>
    settler({
      isFresh,
      onAnswer: (verdicts, applied, isLate) =>
        verdicts.forEach(({ key }, i) => {
          const what = `${key.toString()} ${applied[i]}`;
          answers.push(`${name} ${what}${isLate ? ', late' : ''}`);
        }),
      onForgotten: (verdicts) => {
        for (const { key } of verdicts)
          answers.push(`${name} ${key.toString()} forgotten`);
      },
    });
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
      expect(await settling.prepare()).toBe(true);
      expect(await settling.prepare()).toBe(false);

      expect(answers).toEqual(['A a true, late', 'A b true, late']);
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
    expect(answers).toEqual(['A of A true, late', 'C c true', 'C d false']);
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

  it('asks no more for what a server out of memory refused, and so lets what is gone go', async () => {
    const { index, settling, answers, by, keysOfEvents } =
      await settlingOn(server);
    const gone: Verdict = { key: Buffer.from('d'), seen: 5, at: undefined };
    await index.enrol(['c', 'd'].map((k) => ({ key: Buffer.from(k), at: 5 })));
    await server.redis.config('SET', 'maxmemory', '1');
    await expect(
      settling.settle([expired('a'), expired('c', 5)], NOW, by('A')),
    ).rejects.toThrow('OOM');

    await settling.settle([gone], NOW, by('B'));

    expect(await index.size()).toBe(1);
    await server.redis.config('SET', 'maxmemory', '0');
    await settling.settle([expired('a'), expired('c', 5)], NOW, by('C'));
    expect(answers).toEqual(['B d true', 'C a true', 'C c true']);
    expect(await keysOfEvents()).toEqual(['a', 'c']);
  });

  it.each([
    ['was done and not answered', loseAnswers, ['a']],
    ['was not done', loseRequests, []],
  ])(
    'lets a request not be done, nor be done again, that %s, once what it goes by does not count any more',
    async (_, lose, events) => {
      const parts = await settlingOn(server);
      const { index, settling, answers, by, keysOfEvents } = parts;
      let counts = true;
      const send = index.send.bind(index);
      const sent: Parameters<typeof send>[0][] = [];
      index.send = (request) => {
        sent.push(request);
        return send(request);
      };
      lose(parts);
      await expect(
        settling.settle(
          [expired('a')],
          NOW,
          by('A', () => counts),
        ),
      ).rejects.toThrow(LOST);
      counts = false;
      recover(parts);

      expect(await settling.prepare()).toBe(true);
      expect(await settling.prepare()).toBe(false);
      // It comes at last, by the connection that was lost.
      await expect(index.send(sent[0]!)).rejects.toThrow(/^STALE/);

      expect(answers).toEqual(['A a forgotten']);
      expect(await keysOfEvents()).toEqual(events);
    },
  );

  it('does not send what does not count any more when its turn comes', async () => {
    const { settling, answers, by, keysOfEvents } = await settlingOn(server);
    let counts = true;
    const first = settling.settle([expired('a')], NOW, {
      ...by('A'),
      onAnswer: () => (counts = false),
    });
    const second = settling.settle(
      [expired('b')],
      NOW,
      by('B', () => counts),
    );

    await first;
    await expect(second).rejects.toThrow('listening was lost');
    expect(answers).toEqual([]);
    expect(await keysOfEvents()).toEqual(['a']);
  });

  it('asks again, also where the right to do so is taken away for a while', async () => {
    const parts = await settlingOn(server);
    const { settling, answers, by, keysOfEvents } = parts;
    loseAnswers(parts);
    await expect(settling.settle([expired('a')], NOW, by('A'))).rejects.toThrow(
      LOST,
    );
    recover(parts);
    await server.redis.acl('SETUSER', 'default', '-evalsha', '-eval');
    await expect(settling.prepare()).rejects.toThrow(/^NOPERM/);
    await expect(settling.prepare()).rejects.toThrow(/^NOPERM/);
    await server.redis.acl('SETUSER', 'default', '+@all');

    await settling.prepare();

    expect(answers).toEqual(['A a true, late']);
    expect(await keysOfEvents()).toEqual(['a']);
  });

  it('does once what it may not note', async () => {
    const { settling, answers, by, keysOfEvents } = await settlingOn(server);
    await server.redis.acl('SETUSER', 'default', '-set');
    await settling.settle([expired('a')], NOW, by('A'));
    await server.redis.acl('SETUSER', 'default', '+@all');

    await settling.prepare();

    expect(answers).toEqual(['A a true']);
    expect(await keysOfEvents()).toEqual(['a']);
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
    // A token may be anything.
    const second = await settlingOn(server, 'another 1 ');

    const request = second.index.settleRequest([expired('b')], NOW);
    expect(await second.index.send(request)).toEqual([true]);
    expect(await second.index.send(request)).toEqual([true]);

    expect(await second.keysOfEvents()).toEqual(['a', 'b']);
  });
});
