import { describe, expect, it } from 'vitest';
import type {
  KeyExpiredEvent,
  OnKeyExpiredOptions,
} from '../../../lib/index.js';
import { type Collector, collect } from '../../support/collect.js';
import { deferred, eventually } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

type Handled = KeyExpiredEvent & { at: number };
const keep =
  (events: Collector<Handled>) =>
  (event: KeyExpiredEvent): void =>
    events.add({ ...event, at: Date.now() });

describe('what waits for a grace in a group', () => {
  const server = useServer();

  const inGrace = () => server.redis.zcard('rx:{presence}:grace');
  const waiting = (count: number) =>
    eventually(async () => expect(await inGrace()).toBe(count));
  const start = (
    events: Collector<Handled>,
    options: OnKeyExpiredOptions,
    name?: string,
  ) => groupApp(server, [handler('k*', keep(events), options, name)]);
  const expire = async (key: string, ttl = 50): Promise<number> => {
    await server.redis.set(key, '1', 'PX', ttl);
    return server.redis.pexpiretime(key);
  };

  it('is told by status(), and is nothing that waits, runs or is tried again', async () => {
    const { subscriber } = await start(collect(), { grace: 60_000 });
    await Promise.all(names('k', 20).map((key) => expire(key, 500)));
    await waiting(20);

    await eventually(() =>
      expect(subscriber.status()).toMatchObject({
        ...{ inGrace: 0, queued: 0, running: 0 },
        counters: { received: 0 },
        groups: [{ inGrace: 20, waiting: 0, pending: 0, retrying: 0, dead: 0 }],
      }),
    );
    expect(subscriber.status().lateness.count).toBe(20);
  });

  it.each<[string, number, number | undefined, number]>([
    ['lengthens', 2_500, 3_500, 3_500],
    ['shortens', 2_500, 100, 2_500],
    ['removes', 2_500, undefined, 2_500],
  ])(
    'waits for the later of two where a deploy %s it',
    async (_, before, after, expected) => {
      const [old, fresh] = [collect<Handled>(), collect<Handled>()];
      const first = await start(old, { grace: before });
      const deadline = await expire('k');
      await waiting(1);
      await first.close();
      await start(fresh, after === undefined ? {} : { grace: after });
      const event = await fresh.one();
      await groupIsDone(server);

      expect(event.at).toBeGreaterThanOrEqual(deadline + expected);
      expect(event).toMatchObject({ attempt: 1, key: 'k' });
      expect([...old.all, ...fresh.all]).toHaveLength(1);
    },
  );

  it('goes to those that take over where a deploy renames the handler', async () => {
    const [old, fresh] = [collect<Handled>(), collect<Handled>()];
    const first = await start(old, { grace: 2_500 }, 'Old');
    const deadline = await expire('k');
    await waiting(1);
    await first.close();
    await start(fresh, { grace: 3_500 }, 'Renamed');
    const event = await fresh.one();
    await groupIsDone(server);

    expect(event.at).toBeGreaterThanOrEqual(deadline + 3_500);
    expect(event.attempt).toBe(1);
    expect([old.all, fresh.all.length]).toEqual([[], 1]);
  });

  it('does not wait for another handler of the key, however long that one takes', async () => {
    const [graced, plain] = [collect<Handled>(), collect<KeyExpiredEvent>()];
    const held = deferred();
    const { subscriber } = await groupApp(server, [
      handler('k', keep(graced), { grace: 300 }, 'Graced'),
      handler(
        'k',
        (event) => {
          plain.add(event);
          return held.promise;
        },
        {},
        'Held',
      ),
    ]);
    const deadline = await expire('k');
    const event = await graced.one();
    expect(subscriber.status().running).toBe(1);
    held.resolve();
    await groupIsDone(server);

    expect(event.at).toBeGreaterThanOrEqual(deadline + 300);
    expect(plain.all.map(({ id }) => id)).toEqual([event.id]);
    expect(graced.all).toHaveLength(1);
    expect(subscriber.status().counters).toMatchObject({
      ...{ received: 2, handled: 2, retried: 0 },
    });
  });

  it('is tried again without another wait, given up, and redriven', async () => {
    const events = collect<Handled>();
    let isBroken = true;
    const { subscriber } = await groupApp(server, [
      handler(
        'k',
        (event) => {
          keep(events)(event);
          if (isBroken) throw new Error('on purpose');
        },
        { grace: 300, retry: { attempts: 2, backoff: 10 } },
      ),
    ]);
    const deadline = await expire('k');
    const [first, second] = await events.next(2);
    const letter = await eventually(async () => {
      const [one] = await subscriber.deadLetters();
      expect(one).toMatchObject({ key: 'k', attempts: 2 });
      return one!;
    });
    expect(first!.at).toBeGreaterThanOrEqual(deadline + 300);
    expect([first!.attempt, second!.attempt]).toEqual([1, 2]);
    isBroken = false;
    expect(await subscriber.redrive(letter.id)).toBe(true);
    const third = await events.one();
    await groupIsDone(server);

    expect(third).toMatchObject({ attempt: 1, id: first!.id });
    expect(subscriber.status().counters).toMatchObject({
      ...{ handled: 1, failed: 2, cameBack: 0, deadLettered: 1 },
    });
  });

  it('counts as superseded where the key comes back between two tries', async () => {
    const { subscriber } = await groupApp(server, [
      handler(
        'k',
        async () => {
          await server.redis.set('k', 'again');
          throw new Error('on purpose');
        },
        { grace: 100, retry: { backoff: 10 } },
      ),
    ]);
    await expire('k');
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        ...{ failed: 1, superseded: 1, cameBack: 0 },
      }),
    );
    await groupIsDone(server);
  });

  it('is one event of the last deadline, whichever instance took which expiry', async () => {
    const events = collect<Handled>();
    const apps = [];
    for (let i = 0; i < 3; i++)
      apps.push(await start(events, { grace: 4_000 }));
    const keys = names('k', 60);
    const last = new Map<string, number>();
    await Promise.all(keys.map((key) => expire(key, 500)));
    await waiting(60);
    await Promise.all(keys.map((key) => expire(key, 500)));
    await waiting(120);
    await Promise.all(
      keys.map(async (key) => last.set(key, await expire(key, 500))),
    );
    await events.next(60);
    await groupIsDone(server);

    const told = events.all.map((e) => [e.key, e.deadline!.getTime()] as const);
    expect(new Map(told)).toEqual(last);
    expect(told).toHaveLength(60);
    const counters = apps.map(({ subscriber }) => subscriber.status().counters);
    const sum = (name: 'cameBack' | 'handled' | 'superseded') =>
      counters.reduce((all, each) => all + each[name], 0);
    expect([sum('cameBack'), sum('handled'), sum('superseded')]).toEqual([
      ...[120, 60, 0],
    ]);
  });

  it('counts from the deadline where the expiry is found after an outage', async () => {
    const events = collect<Handled>();
    const first = await start(events, { grace: 500 });
    const deadline = await expire('k', 1_000);
    await eventually(async () =>
      expect(await server.redis.zcard('rx:{presence}:index')).toBe(1),
    );
    await first.close();
    await eventually(() => expect(Date.now()).toBeGreaterThan(deadline + 600));
    await start(events, { grace: 500 });
    const event = await events.one();
    await groupIsDone(server);

    expect(event.deadline!.getTime()).toBe(deadline);
    expect(event.attempt).toBe(1);
    expect(events.all).toHaveLength(1);
  });

  it('is known to have been back where its first expiry was not taken before it was gone again', async () => {
    const events = collect<Handled>();
    const held = deferred();
    // Its only place is taken, so the events stay in the stream.
    const { subscriber } = await groupApp(
      server,
      [
        handler('busy', () => held.promise, {}, 'Busy'),
        handler('k*', keep(events), { grace: 1_500 }),
      ],
      { concurrency: 1 },
    );
    await server.expire('busy');
    await eventually(() => expect(subscriber.status().running).toBe(1));
    await expire('k1');
    await expire('k2');
    const fired = (count: number) =>
      eventually(async () =>
        expect(await server.redis.xlen('rx:{presence}:events')).toBe(count),
      );
    await fired(3);
    const deadline = await expire('k1');
    await server.redis.set('k2', 'again');
    await fired(4);
    await eventually(async () =>
      expect(await server.redis.zcard('rx:{presence}:back')).toBe(2),
    );
    await server.redis.del('k2');
    await eventually(() =>
      expect(Date.now()).toBeGreaterThan(deadline + 1_500),
    );
    held.resolve();
    const event = await events.one();
    await groupIsDone(server);

    expect(event).toMatchObject({ key: 'k1' });
    expect(event.deadline!.getTime()).toBe(deadline);
    expect(events.all).toHaveLength(1);
    expect(subscriber.status().counters.cameBack).toBe(2);
  });
});
