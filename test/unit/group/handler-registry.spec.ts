import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Graces } from '../../../lib/group/graces.js';
import { HandlerRegistry } from '../../../lib/group/handler-registry.js';
import { OwnHandlers } from '../../../lib/group/own-handlers.js';
import {
  NOTE_HANDLERS,
  type NoteReply,
} from '../../../lib/scripts/note-handlers.lua.js';
import { WITHDRAW_HANDLERS } from '../../../lib/scripts/withdraw-handlers.lua.js';
import type { ExpiryHandler } from '../../../lib/dispatch/expiry.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { SubscriptionRegistry } from '../../../lib/listening/subscription-registry.js';
import {
  type Deferred,
  deferred,
  eventually,
} from '../../support/eventually.js';
import { HOME_KEYS, commandsOn, noLog } from '../../support/group/parts.js';
import { paced } from '../../support/paced.js';
import {
  type TestServer,
  onEveryServer,
  useServer,
} from '../../support/servers.js';

const SCRIPT_KEYS = [
  HOME_KEYS.instances,
  HOME_KEYS.handlers,
  HOME_KEYS.listened,
];

onEveryServer('NOTE-HANDLERS', (server) => {
  interface Note {
    number?: string;
    list?: string;
    listening?: string;
    known?: string;
  }
  const note = async (instance: string, given: Note) => {
    const { number = '', list = '', listening = '', known = ',' } = given;
    const [own, instances, well, listened, ...flat] = (await NOTE_HANDLERS.run(
      server.redis,
      SCRIPT_KEYS,
      ...[instance, number, list, 15_000, 60_000, listening, known, 1_500],
    )) as NoteReply;
    /** By number, the lists that live, and those that are gone for so many ms. */
    const lists: Record<string, string> = {};
    const gone: Record<string, string> = {};
    for (let i = 0; i < flat.length; i += 3)
      if (flat[i + 1] === '0') lists[flat[i]!] = flat[i + 2]!;
      else gone[flat[i + 2]!] = flat[i + 1]!;
    return { number: own, instances, well, listened, lists, gone };
  };
  const withdraw = (instance: string) =>
    WITHDRAW_HANDLERS.run(server.redis, [HOME_KEYS.instances], instance);
  /** As if all that was noted until now had been noted so many ms ago. */
  const age = async (ms: number, only = '') => {
    const all = await server.redis.zrange(HOME_KEYS.instances, '0', '-1');
    for (const entry of all.filter((each) => each.endsWith(only)))
      await server.redis.zadd(HOME_KEYS.instances, Date.now() - ms, entry);
  };

  it('keeps a list once for all instances that have it, and tells everybody of all lists', async () => {
    const a = await note('a', { list: 'A' });
    const b = await note('b', { list: 'A' });
    const c = await note('c', { list: 'C' });

    expect(a).toEqual({
      ...{ number: a.number, instances: 1, well: 1, listened: '' },
      ...{ lists: { [a.number]: 'A' }, gone: {} },
    });
    expect(b).toMatchObject({ number: a.number, instances: 2 });
    expect(c.lists).toEqual({ [a.number]: 'A', [c.number]: 'C' });
    expect(Number(c.number)).toBeGreaterThan(Number(a.number));
    // What is known is not told again.
    expect(
      await note('a', { number: a.number, known: `,${a.number},` }),
    ).toEqual({
      ...{ number: a.number, instances: 3, well: 3, listened: '' },
      ...{ lists: { [a.number]: '', [c.number]: 'C' }, gone: {} },
    });
  });

  it('replaces what an instance noted before, and forgets a list that no instance has', async () => {
    const a = await note('a', { list: 'A' });
    await note('b', { list: 'A' });
    const changed = await note('b', { list: 'B' });
    expect(changed.lists).toEqual({ [a.number]: 'A', [changed.number]: 'B' });
    const again = await note('a', { list: 'B' });

    expect(again.number).toBe(changed.number);
    expect(again).toMatchObject({
      ...{ instances: 2, lists: { [changed.number]: 'B' } },
    });
    expect(Object.keys(again.lists)).toHaveLength(1);
    // A list that comes back has another number: nobody takes it for what was listened for before.
    const back = await note('b', { list: 'A' });
    expect(Number(back.number)).toBeGreaterThan(Number(changed.number));
  });

  it('remembers for a minute what an instance had that left', async () => {
    const { number } = await note('a', { list: 'A' });
    await note('b', { list: 'B' });
    expect(await withdraw('b')).toBe(1);
    expect(await withdraw('b')).toBe(0);
    const at = async (ms: number) => {
      await age(ms, ' b');
      return note('a', { number });
    };
    const left = await at(500);
    expect(left).toMatchObject({ instances: 1, lists: { [number]: 'A' } });
    expect(Number(left.gone['B'])).toBeGreaterThanOrEqual(500);
    expect(Number(left.gone['B'])).toBeLessThan(paced(2_000));
    expect((await at(59_000)).gone).toHaveProperty('B');

    expect((await at(60_001)).gone).toEqual({});
    expect(await server.redis.zrange(HOME_KEYS.handlers, '0', '-1')).toEqual([
      'A',
    ]);
    expect(await server.redis.zcard(HOME_KEYS.instances)).toBe(1);
  });

  it('remembers for as long what an instance had that died', async () => {
    const a = await note('a', { list: 'A' });
    const b = await note('b', { list: 'B' });
    const at = async (ms: number) => {
      await age(ms, ' b');
      return note('a', { number: a.number });
    };
    expect(await at(1_400)).toMatchObject({ well: 2 });
    expect(await at(14_000)).toMatchObject({ instances: 2, well: 1, gone: {} });
    const dead = await at(15_500);
    expect(dead).toMatchObject({ instances: 1, lists: { [a.number]: 'A' } });
    expect(Number(dead.gone['B'])).toBeGreaterThanOrEqual(500);
    expect(Number(dead.gone['B'])).toBeLessThan(paced(2_000));
    // It was not dead after all.
    expect(await note('b', { number: b.number })).toMatchObject({
      ...{ number: b.number, instances: 2, gone: {} },
    });

    expect((await at(60_001)).gone).toEqual({});
    expect(await note('b', { number: b.number })).toMatchObject({
      ...{ number: '', instances: 1 },
    });
    expect(await note('b', { list: 'B' })).toMatchObject({ instances: 2 });
  });

  it('counts a list as living if one of those that had it lives', async () => {
    const { number } = await note('a', { list: 'A' });
    for (const instance of ['b', 'c']) await note(instance, { list: 'A' });
    await withdraw('b');
    await age(20_000, ' c');
    expect(await note('a', { number })).toMatchObject({
      ...{ instances: 1, lists: { [number]: 'A' }, gone: {} },
    });
    await withdraw('a');
    // The newest of them counts.
    const { gone } = await note('d', { list: 'D' });
    expect(Number(gone['A'])).toBeLessThan(paced(2_000));
  });

  it.for([
    ['a time in which nobody could note anything', 60_000],
    ['a step of the clock forwards', 3_600_000],
    ['a step of the clock back', -3_600_000],
  ] as const)('takes no instance for dead after %s', async ([, ms]) => {
    const a = await note('a', { list: 'A' });
    const b = await note('b', { list: 'B' });
    await age(ms);
    const first = await note('a', { number: a.number });
    expect(first).toMatchObject({ number: a.number, instances: 2 });
    const second = await note('b', { number: b.number });
    expect(second).toMatchObject({ number: b.number, instances: 2 });

    // From then on time counts as ever.
    await age(15_001, ' b');
    expect(await note('a', { number: a.number })).toMatchObject({
      instances: 1,
    });
  });

  it('tells what is listened for, as whoever leads said last', async () => {
    const { number } = await note('a', { list: 'A', listening: '1,2' });
    expect(await note('b', { list: 'A' })).toMatchObject({ listened: '1,2' });
    expect(await note('a', { number, listening: '3' })).toMatchObject({
      listened: '3',
    });
    expect(await note('b', { number })).toMatchObject({ listened: '3' });
  });
});

const handler = (name: string, pattern: string): ExpiryHandler => ({
  ...{ name, glob: new RedisGlob(pattern) },
  ...{ concurrency: 1, invoke: () => undefined },
});

/** One instance: its handlers, what it would listen for, and its registry. */
function instanceOn(server: TestServer, name: string, ...patterns: string[]) {
  const commands = commandsOn(server);
  const own = new OwnHandlers();
  for (const pattern of patterns) own.add(handler(name, pattern));
  const registry = new SubscriptionRegistry({
    ...{ database: 0, keyPrefix: '', namespace: 'rx' },
    ...{ hints: [], wantedFlags: '' },
  });
  const listener = {
    ...{ leads: false, refreshes: 0, registry },
    graces: new Graces(own, 0),
    held: undefined as Deferred | undefined,
    refresh: async () => {
      listener.refreshes++;
      await listener.held?.promise;
    },
    listening: () => Promise.resolve(),
  };
  const handlers = new HandlerRegistry(
    ...([commands, HOME_KEYS, name, own, listener, noLog] as const),
  );
  onTestFinished(() => {
    handlers.close();
    commands.close();
  });
  /** Own patterns are added by others. */
  const watched = () => registry.redisPatterns().toSorted();
  return { own, handlers, listener, watched, commands };
}

describe('HandlerRegistry', () => {
  const server = useServer();
  const key = Buffer.from('k:1');

  it('knows what other instances have, and has their patterns listened for', async () => {
    const a = instanceOn(server, 'A', 'k:*', 'both:*');
    const b = instanceOn(server, 'B', 'k:?', 'both:*');
    await a.handlers.start();
    await b.handlers.start();
    expect(b.handlers.hasElsewhere('/A k:*')).toBe(true);
    expect(b.handlers.matchingElsewhere(key)).toEqual(new Set(['/A k:*']));
    expect(b.watched()).toEqual(['both:*', 'k:*']);
    await a.handlers.ask();

    expect(a.handlers.instances).toBe(2);
    expect(a.handlers.hasElsewhere('/A k:*')).toBe(false);
    expect(a.handlers.matchingElsewhere(key)).toEqual(new Set(['/B k:?']));
    expect(a.watched()).toEqual(['both:*', 'k:?']);
    expect(a.listener.refreshes).toBe(1);
    await a.handlers.ask();
    expect(a.listener.refreshes).toBe(1);
  });

  it('learns by itself of what comes, changes and goes', async () => {
    const a = instanceOn(server, 'A', 'a');
    const b = instanceOn(server, 'B', 'b');
    await a.handlers.start();
    await b.handlers.start();
    await eventually(() => expect(a.watched()).toEqual(['b']));
    b.own.add(handler('B', 'later'));
    await b.handlers.note();
    await eventually(() => expect(a.watched()).toEqual(['b', 'later']));
    b.own.remove([...b.own][0]!.handler);
    await b.handlers.note();
    await eventually(() => expect(a.watched()).toEqual(['later']));
    await b.handlers.stop();
    await eventually(() => expect(a.handlers.instances).toBe(1));

    // It may be back soon: whoever leads goes on to listen for its patterns.
    const later = Buffer.from('later');
    expect(a.watched()).toEqual(['later']);
    expect(a.handlers.isExpectedBack(later)).toBe(true);
    expect(a.handlers.isExpectedBack(key)).toBe(false);
    expect(a.handlers.matchingElsewhere(later).size).toBe(0);
    const after = async (ms: number) => {
      const entries = await server.redis.zrange(HOME_KEYS.instances, '0', '-1');
      const left = entries.find((entry) => entry.startsWith('-'))!;
      await server.redis.zadd(HOME_KEYS.instances, Date.now() - ms, left);
      await a.handlers.ask();
    };
    await after(15_001);
    expect(a.handlers.isExpectedBack(later)).toBe(false);
    expect(a.watched()).toEqual(['later']);
    await after(60_001);
    expect(a.watched()).toEqual([]);
    await expect(b.handlers.ask()).rejects.toThrow('does not run');
  });

  it.for([
    ['often', 0],
    ['now and then', 150],
  ] as const)(
    'knows of all that was noted before it was asked, %s',
    async ([, rest]) => {
      const a = instanceOn(server, 'A');
      await a.handlers.start();
      for (let i = 0; i < 5; i++) {
        await delay(rest);
        const b = instanceOn(server, `B${i}`, 'k:*');
        // Under way while the other notes what it has.
        const before = a.handlers.ask();
        await b.handlers.start();
        await a.handlers.ask();
        expect(a.handlers.hasElsewhere(`/B${i} k:*`)).toBe(true);
        await before;
      }
    },
  );

  it('asks some times a second, however many want to know', async () => {
    const a = instanceOn(server, 'A', 'k');
    await a.handlers.start();
    await server.redis.config('RESETSTAT');
    const began = performance.now();
    for (let i = 0; i < 3; i++)
      await Promise.all(Array.from({ length: 100 }, () => a.handlers.ask()));

    const calls = (await server.commandCalls())['evalsha']!;
    expect(calls).toBeLessThanOrEqual(
      1 + (performance.now() - began) / 100 + (performance.now() - began) / 1e3,
    );
    expect(performance.now() - began).toBeGreaterThan(200);
  });

  it('notes its list anew where Redis lost everything', async () => {
    const a = instanceOn(server, 'A', 'k:*');
    const b = instanceOn(server, 'B');
    await a.handlers.start();
    await server.redis.flushall();
    await a.handlers.ask();
    await b.handlers.start();

    expect(b.handlers.matchingElsewhere(key)).toEqual(new Set(['/A k:*']));
  });

  it('waits until whoever leads listens for its patterns', async () => {
    const leader = instanceOn(server, 'A', 'a');
    leader.listener.leads = true;
    leader.listener.held = deferred();
    await leader.handlers.start();
    const b = instanceOn(server, 'B', 'b');
    await b.handlers.start();
    let isListened = false;
    const waiting = b.handlers.untilListened().then(() => (isListened = true));
    await eventually(() => expect(leader.watched()).toEqual(['b']));
    await b.handlers.ask();
    await b.handlers.ask();
    expect(isListened).toBe(false);
    leader.listener.held.resolve();
    await waiting;

    expect(await server.redis.get(HOME_KEYS.listened)).toBe(
      (await server.redis.zrange(HOME_KEYS.handlers, '0', '-1', 'WITHSCORES'))
        .filter((_, i) => i % 2 === 1)
        .join(','),
    );
    // Where the patterns are listened for already, it asks for nothing.
    const c = instanceOn(server, 'C', 'a', 'b');
    await c.handlers.start();
    leader.handlers.close();
    b.handlers.close();
    await server.redis.config('RESETSTAT');
    await c.handlers.untilListened();
    expect(await server.commandCalls()).not.toHaveProperty('evalsha');
  });

  it('does not wait for ever for a leader that says nothing', async () => {
    const b = instanceOn(server, 'B', 'b');
    await b.handlers.start();
    const waiting = b.handlers.untilListened();
    await b.handlers.withdraw();
    await waiting;
    // It may start again after what it withdrew, and not after it was stopped.
    await b.handlers.start();
    expect(await server.redis.zcard(HOME_KEYS.instances)).toBe(1);
    await b.handlers.stop();
    await b.handlers.start();
    const entries = await server.redis.zrange(HOME_KEYS.instances, '0', '-1');
    expect(entries).toEqual([expect.stringMatching(/^-\d+ B$/)]);
  });

  it('tells of an error, and goes on', async () => {
    const a = instanceOn(server, 'A', 'a');
    await server.redis.set(HOME_KEYS.instances, 'no sorted set');
    await expect(a.handlers.start()).rejects.toThrow('WRONGTYPE');
    await server.redis.del(HOME_KEYS.instances);
    await a.handlers.start();
    await server.redis.set(HOME_KEYS.instances, 'no sorted set');
    await expect(a.handlers.note()).rejects.toThrow('WRONGTYPE');
    await server.redis.del(HOME_KEYS.instances);

    await eventually(async () =>
      expect(await server.redis.zcard(HOME_KEYS.instances)).toBe(1),
    );
  });

  it('settles some seconds after the application has all its handlers', async () => {
    const a = instanceOn(server, 'A', 'a');
    expect(a.handlers.isSettled).toBe(false);
    await a.handlers.start();
    const began = performance.now();
    a.handlers.complete();
    await eventually(() => expect(a.handlers.isSettled).toBe(true));
    expect(performance.now() - began).toBeGreaterThan(2_990);
    a.handlers.complete();
    expect(a.handlers.isSettled).toBe(true);
    await a.handlers.stop();
    expect(a.handlers.isSettled).toBe(false);
  });
});
