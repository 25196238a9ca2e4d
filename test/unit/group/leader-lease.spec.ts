import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CommandClient } from '../../../lib/connection/command-client.js';
import { LeaderLease } from '../../../lib/group/leader-lease.js';
import { RENEW_LEASE } from '../../../lib/scripts/renew-lease.lua.js';
import { TAKE_LEASE } from '../../../lib/scripts/take-lease.lua.js';
import { runSweep } from '../../../lib/group/sweep.js';
import { eventually } from '../../support/eventually.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import { KEYS, commandsOn, noLog } from '../../support/group/parts.js';
import { paced } from '../../support/paced.js';
import { type TestServer, useServer } from '../../support/servers.js';

interface Held {
  readonly lease: LeaderLease;
  readonly commands: CommandClient;
  /** What the holder was told, in order. */
  readonly told: string[];
  readonly tokens: string[];
  /** What it says it watched. */
  watched: number | undefined;
}

function leaseOn(commands: CommandClient, instance: string): Held {
  const held: Held = {
    commands,
    told: [],
    tokens: [],
    watched: undefined,
    lease: undefined as unknown as LeaderLease,
  };
  const lease = new LeaderLease(
    commands,
    KEYS,
    instance,
    {
      onHeld: (token, watched) => {
        held.tokens.push(token);
        held.told.push(`held ${watched}`);
      },
      onLost: () => held.told.push('lost'),
      watchedUntil: () => held.watched,
    },
    noLog,
  );
  onTestFinished(async () => {
    await lease.close();
    commands.close();
  });
  return Object.assign(held, { lease });
}

/** A way to a server, for the test that asks for it. */
async function linkTo(server: TestServer, latency: number): Promise<TcpProxy> {
  const proxy = await TcpProxy.start(server.port, { latency });
  onTestFinished(() => proxy.close());
  return proxy;
}

describe.each([0, 4])(
  'LeaderLease, over a link of %i ms each way',
  (latency) => {
    const server = useServer();
    const leaseOf = async (instance: string): Promise<Held> => {
      const { port } = await linkTo(server, latency);
      return leaseOn(commandsOn(server, port), instance);
    };

    it('is taken by one, for about two seconds, under a token of its own', async () => {
      const all = await Promise.all(['a', 'b', 'c'].map(leaseOf));
      await Promise.all(all.map(({ lease }) => lease.start()));

      const holders = all.filter(({ lease }) => lease.held);
      expect(holders).toHaveLength(1);
      expect(all.flatMap(({ told }) => told)).toEqual(['held undefined']);
      expect(await server.redis.get(KEYS.lease)).toBe(holders[0]!.tokens[0]);
      const ttl = await server.redis.pttl(KEYS.lease);
      expect(ttl).toBeGreaterThan(0);
      expect(ttl).toBeLessThanOrEqual(2_000);
    });

    it('leaves a note from its first moment on, so that whatever is enrolled under it is not lost with its holder', async () => {
      const a = await leaseOf('a');
      const before = Date.now();
      await a.lease.start();
      // Killed now, before its first renewal, it would leave nothing else.
      const note = await server.redis.get(KEYS.watched);

      expect(Number(note)).toBeGreaterThanOrEqual(before - 1);
      expect(Number(note)).toBeLessThanOrEqual(Date.now());
    });

    it('is renewed as long as it is held, with the note of what was watched', async () => {
      const a = await leaseOf('a');
      await a.lease.start();
      await eventually(async () => {
        expect(await server.redis.pttl(KEYS.lease)).toBeLessThan(1_700);
      });
      a.watched = 42;
      await eventually(async () => {
        expect(await server.redis.pttl(KEYS.lease)).toBeGreaterThan(1_900);
        expect(await server.redis.get(KEYS.watched)).toBe('42');
      });
      // The note outlives the lease.
      expect(await server.redis.pttl(KEYS.watched)).toBe(-1);
      a.watched = undefined;
      await new Promise((resolve) => setTimeout(resolve, 700));
      expect(await server.redis.get(KEYS.watched)).toBe('42');
      expect(a.told).toEqual(['held undefined']);
    });

    it('is handed over at a shutdown, at once, with what was watched', async () => {
      const [a, b] = [await leaseOf('a'), await leaseOf('b')];
      await a.lease.start();
      await b.lease.start();
      a.watched = 77;
      const [of] = a.tokens;
      await a.lease.close();
      // It is given back, and does not run out.
      expect(await server.redis.get(KEYS.lease)).not.toBe(of);
      await eventually(() => expect(b.lease.held).toBe(true));

      expect(a.told).toEqual(['held undefined', 'lost']);
      expect(b.told).toEqual(['held 77']);
      expect(b.tokens).not.toEqual(a.tokens);
      await a.lease.close();
      expect(await server.redis.get(KEYS.lease)).toBe(b.tokens[0]);
    });

    it('is taken over after two seconds of silence, and its holder says by then that it lost it', async () => {
      const proxy = await linkTo(server, latency);
      const commands = commandsOn(server, proxy.port);
      const a = leaseOn(commands, 'a');
      await a.lease.start();
      a.watched = 5;
      await eventually(async () => {
        expect(await server.redis.get(KEYS.watched)).toBe('5');
      });
      const b = await leaseOf('b');
      await b.lease.start();
      proxy.silence();
      const began = performance.now();
      await eventually(() => expect(b.lease.held).toBe(true));

      expect(performance.now() - began).toBeGreaterThan(1_000);
      expect(performance.now() - began).toBeLessThan(paced(4_500));
      expect(b.told).toEqual(['held 5']);
      await eventually(() =>
        expect(a.told).toEqual(['held undefined', 'lost']),
      );
      expect(a.lease.held).toBe(false);
      // Back again, it waits for its turn.
      await proxy.pass();
      proxy.cut();
      await eventually(async () => {
        await commands.run((redis) => redis.ping());
      });
      expect(await server.redis.get(KEYS.lease)).toBe(b.tokens[0]);
      expect(a.told).toHaveLength(2);
    });

    it('is lost when another took it, and no settling under the old token is heard', async () => {
      const a = await leaseOf('a');
      await a.lease.start();
      await server.redis.zadd(KEYS.index, 5, 'k');
      await server.redis.set(KEYS.lease, 'another', 'PX', 60_000);

      await expect(
        a.commands.run((redis) =>
          runSweep(
            ...([redis, KEYS, { token: a.tokens[0]!, number: 1 }] as const),
            { keys: [Buffer.from('k')], known: 'e' },
          ),
        ),
      ).rejects.toThrow(/^LEASE/);
      expect(await server.redis.xlen(KEYS.events)).toBe(0);
      await eventually(() =>
        expect(a.told).toEqual(['held undefined', 'lost']),
      );
      await a.lease.close();
      expect(await server.redis.get(KEYS.lease)).toBe('another');
    });

    it('is taken anew, under a new token, after a flush', async () => {
      const a = await leaseOf('a');
      await a.lease.start();
      await server.redis.flushall();
      await eventually(() => expect(a.told).toHaveLength(3));

      expect(a.told).toEqual(['held undefined', 'lost', 'held undefined']);
      expect(new Set(a.tokens).size).toBe(2);
    });

    it('is not kept by one that was closed before it was taken', async () => {
      const a = await leaseOf('a');
      const starting = a.lease.start();
      await Promise.all([starting, a.lease.close()]);

      expect(await server.redis.exists(KEYS.lease)).toBe(0);
      expect(a.told.filter((told) => told.startsWith('held'))).toEqual([]);
    });
  },
);

describe('the lease of an instance', () => {
  const server = useServer();
  const take = (instance: string, turn: number): Promise<unknown> =>
    TAKE_LEASE.run(
      server.redis,
      [KEYS.lease, KEYS.watched],
      ...[instance, turn, 60_000],
    );
  const GRANTED = [1, expect.any(String)];
  const REFUSED = [0, expect.any(Number), 'a'];

  it('that nobody told it of does not hold it up, nor does a request that comes late take it back', async () => {
    expect(await take('a', 1)).toEqual(GRANTED);
    expect(await take('b', 7)).toEqual(REFUSED);

    expect(await take('a', 2)).toEqual(GRANTED);
    expect(await take('a', 1)).toEqual(REFUSED);
    expect(await server.redis.get(KEYS.lease)).toBe('a:2');
    expect(
      await RENEW_LEASE.run(
        server.redis,
        [KEYS.lease, KEYS.watched],
        ...['a:1', 60_000, ''],
      ),
    ).toBe(0);
    // As a client does that sends again what was not answered.
    expect(await take('a', 2)).toEqual(GRANTED);
    expect(await take('a:2', 1)).toEqual(REFUSED);
  });

  it("does not outlast its time by what the server's clock is set back", async () => {
    const { redis } = server;
    const ask = [[KEYS.lease, KEYS.watched], 'b', 1, 2_000] as const;
    // As it looks after a step back by 40 s.
    await redis.set(KEYS.lease, 'a:1', 'PX', 41_000);
    const later = Date.now() + 40_000;
    await redis.set(KEYS.watched, later);

    expect(await TAKE_LEASE.run(redis, ...ask)).toEqual([0, 2_000, 'a']);
    expect(await redis.pttl(KEYS.lease)).toBeLessThanOrEqual(2_000);
    await redis.del(KEYS.lease);
    // What was watched until a time to come says nothing of what was missed.
    expect(await TAKE_LEASE.run(redis, ...ask)).toEqual([1, '0']);
    const keys = [KEYS.lease, KEYS.watched];
    expect(await RENEW_LEASE.run(redis, keys, 'b:1', 2_000, later)).toBe(1);
    expect(Number(await redis.get(KEYS.watched))).toBeLessThan(later - 30_000);
  });

  it("stays its holder's where the server's clock is set forward, and nobody took it", async () => {
    const { redis } = server;
    const keys = [KEYS.lease, KEYS.watched];
    expect(await take('a', 1)).toEqual(GRANTED);
    await redis.del(KEYS.lease);
    expect(await RENEW_LEASE.run(redis, keys, 'a:1', 60_000, '')).toBe(1);
    expect(await redis.get(KEYS.lease)).toBe('a:1');
    await redis.flushall();
    expect(await RENEW_LEASE.run(redis, keys, 'a:1', 60_000, '')).toBe(0);
    expect(await redis.exists(KEYS.lease)).toBe(0);
  });

  it('is not taken by one who only looks, and who learns whether somebody holds it', async () => {
    const keys = [KEYS.lease, KEYS.watched];
    const look = (instance: string, turn: number): Promise<unknown> =>
      TAKE_LEASE.run(server.redis, keys, instance, turn, 60_000, 1);

    expect(await look('a', 1)).toEqual([0, 0, '']);
    expect(await server.redis.dbsize()).toBe(0);
    expect(await take('a', 2)).toEqual(GRANTED);
    expect(await look('b', 1)).toEqual(REFUSED);
    // One that it does not use.
    expect(await look('a', 3)).toEqual([0, 0, '']);
    expect(await server.redis.get(KEYS.lease)).toBe('a:2');
    await server.redis.set(KEYS.lease, 'nonsense');
    expect(await look('b', 1)).toEqual([0, -1, 'nonsense']);
  });

  it('is given back at its end though it was granted too late to be used', async () => {
    const commands = commandsOn(server);
    const a = leaseOn(commands, 'a');
    await commands.run((redis) => redis.ping());
    server.process.pause();
    const starting = a.lease.start();
    // More than half of the time for which it is given.
    await delay(1_100);
    const closing = a.lease.close();
    server.process.resume();
    await starting;
    expect(a.lease.held).toBe(false);

    await closing;

    expect(await server.redis.exists(KEYS.lease)).toBe(0);
    expect(await server.redis.exists(KEYS.watched)).toBe(1);
    expect(a.told).toEqual([]);
  });
});
