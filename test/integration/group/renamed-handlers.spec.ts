import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { type Collector, collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

const KEYS = names('k', 20);

const failing =
  (calls: Collector<KeyExpiredEvent>) => (event: KeyExpiredEvent) => {
    calls.add(event);
    throw new Error('on purpose');
  };
/** The attempts that each key was given to a handler with. */
const attemptsOf = (calls: Collector<KeyExpiredEvent>) =>
  Object.fromEntries(
    KEYS.map((key) => [
      key,
      calls.all.filter((event) => event.key === key).map((e) => e.attempt),
    ]),
  );
const each = (attempts: number[]) =>
  Object.fromEntries(KEYS.map((key) => [key, attempts]));

describe('a class that a deploy renames', () => {
  const server = useServer();
  const retry = { attempts: 3, backoff: 1_000 };
  const old = (calls: Collector<KeyExpiredEvent>) =>
    groupApp(server, [handler('k*', failing(calls), {}, 'Old')], { retry });
  const renamed = (calls: Collector<KeyExpiredEvent>, pattern = 'k*') =>
    groupApp(server, [handler(pattern, calls.add, {}, 'Renamed')], { retry });

  it('is tried again under its new name, in a rolling deploy', async () => {
    const [before, after] = [
      collect<KeyExpiredEvent>(),
      collect<KeyExpiredEvent>(),
    ];
    const first = await old(before);
    await server.expire(...KEYS);
    await before.next(20);
    await renamed(after);
    await first.close();
    await after.next(20);
    await groupIsDone(server);

    // While both lived, the old one was tried again by the old one.
    const tries = attemptsOf(before);
    expect(attemptsOf(after)).toEqual(
      Object.fromEntries(KEYS.map((key) => [key, [tries[key]!.length + 1]])),
    );
    expect(await groupState(server)).not.toHaveProperty('dead');
  });

  it('is tried again under its new name, after a restart', async () => {
    const [before, after] = [
      collect<KeyExpiredEvent>(),
      collect<KeyExpiredEvent>(),
    ];
    const first = await old(before);
    await server.expire(...KEYS);
    await before.next(20);
    await first.close();
    const { logs } = await renamed(after);
    await after.next(20);
    await groupIsDone(server);

    expect(attemptsOf(before)).toEqual(each([1]));
    expect(attemptsOf(after)).toEqual(each([2]));
    expect(await groupState(server)).not.toHaveProperty('dead');
    // Said once, and not for each of them.
    expect(logs.texts('warn', 'Old.onExpired k*')).toEqual([
      expect.stringContaining('"Renamed.onExpired k*"'),
    ]);
  });

  it('is tried by the old one as long as that lives', async () => {
    const [before, after] = [
      collect<KeyExpiredEvent>(),
      collect<KeyExpiredEvent>(),
    ];
    await groupApp(server, [handler('k*', failing(before), {}, 'Old')], {
      retry: { attempts: 3, backoff: 100 },
    });
    await server.expire(...KEYS);
    await before.next(20);
    const { subscriber } = await renamed(after);
    await eventually(async () => {
      expect(await groupState(server)).toMatchObject({ dead: 20, events: 0 });
    });

    expect(attemptsOf(before)).toEqual(each([1, 2, 3]));
    expect(after.all).toEqual([]);
    const letters = await subscriber.deadLetters();
    expect(new Set(letters.map((letter) => letter.error))).toEqual(
      new Set(['on purpose']),
    );
  });

  it('gets what was given up under its old name, and is redriven', async () => {
    const [before, after] = [
      collect<KeyExpiredEvent>(),
      collect<KeyExpiredEvent>(),
    ];
    const first = await groupApp(server, [
      handler('k*', failing(before), { retry: { attempts: 1 } }, 'Old'),
    ]);
    await server.expire('k1');
    await eventually(async () =>
      expect(await groupState(server)).toMatchObject({ dead: 1, events: 0 }),
    );
    await first.close();
    const { subscriber } = await renamed(after);
    const [letter] = await subscriber.deadLetters();
    expect(letter).toMatchObject({ key: 'k1', handler: 'Old.onExpired k*' });
    expect(await subscriber.redrive(letter!.id)).toBe(true);

    expect(await after.one()).toMatchObject({ key: 'k1', attempt: 1 });
    await groupIsDone(server);
    expect(after.all).toHaveLength(1);
    expect(await subscriber.deadLetters()).toEqual([]);
  });

  it('gets every event, like any other whose pattern matches, where instances differ', async () => {
    const before = collect<KeyExpiredEvent>();
    const [narrow, wide] = [
      collect<KeyExpiredEvent>(),
      collect<KeyExpiredEvent>(),
    ];
    const first = await old(before);
    await server.expire(...KEYS);
    await before.next(20);
    await first.close();
    await server.redis.config('RESETSTAT');
    await renamed(narrow);
    await groupApp(server, [handler('*', wide.add, {}, 'Wide')], { retry });
    await Promise.all([narrow.next(20), wide.next(20)]);
    await groupIsDone(server);

    expect(attemptsOf(narrow)).toEqual(each([2]));
    expect(attemptsOf(wide)).toEqual(each([2]));
    expect(await groupState(server)).not.toHaveProperty('dead');
    // Two dozens for each at most, while the group was new: not thousands a second, for ever.
    const { xadd } = await server.commandCalls();
    expect(xadd).toBeLessThan(20 * 30);
  });
});
