import { describe, expect, it, onTestFinished } from 'vitest';
import type {
  KeyExpiredEvent,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import { collect } from '../support/collect.js';
import { eventually, turns } from '../support/eventually.js';
import { groupApp, groupState, handler } from '../support/group/app.js';
import { paced } from '../support/paced.js';
import { TestServer, useServer } from '../support/servers.js';

/** What may be subscribed to by hand. Resolves with what ends it; the keys that expired go to `heard`. */
type Call = (
  subscriber: RedisExpirySubscriber,
  heard: (key: string) => void,
) => Promise<() => unknown>;

const calls: Record<string, Call> = {
  'expirations()': async (subscriber, heard) => {
    let ended: unknown;
    const subscription = subscriber.expirations('late:*').subscribe({
      next: ({ key }) => heard(key),
      error: (error: unknown) => (ended = error),
      complete: () => (ended = new Error('it completed without a word')),
    });
    const isListening = (): boolean =>
      subscriber.status().nodes[0]?.patterns.includes('late:*') === true;
    while (ended === undefined && !isListening()) await turns();
    if (ended !== undefined) throw ended as Error;
    return () => subscription.unsubscribe();
  },
  'psubscribe()': async (subscriber, heard) => {
    const subscription = await subscriber.psubscribe(
      '__keyevent@0__:expired',
      (_pattern, _channel, key) => {
        if (key.startsWith('late:')) heard(key);
      },
    );
    return () => subscription.unsubscribe();
  },
  'subscribe() without a group': async (subscriber, heard) => {
    const subscription = await subscriber.subscribe(
      'late:*',
      ({ key }) => heard(key),
      { group: false },
    );
    return () => subscription.unsubscribe();
  },
  'subscribe() with a group of its own': async (subscriber, heard) => {
    const subscription = await subscriber.subscribe(
      'late:*',
      ({ key }) => heard(key),
      { group: 'other' },
    );
    return () => subscription.unsubscribe();
  },
};

const names = Object.keys(calls);

/** An application whose group handles keys by a decorated method, and which has nothing else. */
async function runningGroup(server: TestServer, connection: object) {
  const handled = collect<string>();
  const app = await groupApp(
    server,
    [handler('k*', ({ key }: KeyExpiredEvent) => handled.add(key))],
    { connection: { host: server.host, port: server.port, ...connection } },
  );
  const isAllThereIs = (): void =>
    expect(app.subscriber.status()).toMatchObject({
      nodes: [],
      groups: [
        { group: 'presence', leads: true, nodes: [{ state: 'listening' }] },
      ],
    });
  /** The group goes on as if nothing had happened. */
  const goesOn = async (key: string): Promise<void> => {
    await server.expire(key);
    expect(await handled.one()).toBe(key);
    isAllThereIs();
  };
  /** The group handles expiries again, after a time in which it may have lost its lease and its connections. */
  const comesBack = (): Promise<void> =>
    eventually(
      async () => {
        await server.expire('k');
        expect(handled.rest).not.toEqual([]);
        isAllThereIs();
      },
      { interval: 100 },
    );
  return { ...app, subscriber: app.subscriber, goesOn, comesBack };
}

describe('a first subscription in an application that runs', () => {
  const server = useServer();

  describe.each(names)('%s', (name) => {
    const call = calls[name]!;

    it('that is refused fails for its caller alone, and works once it is allowed', async () => {
      await server.redis.acl(
        'SETUSER',
        ...['limited', 'on', '>secret', '+@all', '~k*'],
        ...['~rx:self-test:*', '~rx:{presence}:*', 'resetchannels'],
        ...['&__keyspace@0__:k*', '&__keyspace@0__:rx:self-test:*'],
      );
      const { subscriber, goesOn, logs } = await runningGroup(server, {
        username: 'limited',
        password: 'secret',
      });
      await goesOn('k1');
      const before = await server.subscriptions();

      const refused = await call(subscriber, () => undefined).catch(
        (error: unknown) => error,
      );

      expect(refused).toMatchObject({
        name: 'RedisExpiryError',
        code: name.includes('of its own')
          ? 'GROUP_REFUSED'
          : 'SUBSCRIPTION_REFUSED',
      });
      // Nothing is left of it.
      await eventually(async () =>
        expect(await server.subscriptions()).toEqual(before),
      );
      await goesOn('k2');

      await server.redis.acl('SETUSER', 'limited', '~*', '&*');
      const heard = collect<string>();
      const end = await call(subscriber, heard.add);
      await server.expire('late:1');
      expect(await heard.one()).toBe('late:1');
      await end();
      expect(heard.rest).toEqual([]);
      expect(logs.texts('error')).toEqual([]);
    });

    it('that does not reach Redis in time fails for its caller alone, and works once Redis is back', async () => {
      const connectTimeout = paced(2_000);
      const { subscriber, goesOn, comesBack } = await runningGroup(server, {
        connectTimeout,
      });
      await goesOn('k1');
      server.process.pause();
      onTestFinished(() => server.process.resume());

      const refused = await call(subscriber, () => undefined).catch(
        (error: unknown) => error,
      );

      expect(refused).toMatchObject({
        code: 'CONNECT_FAILED',
        message: expect.stringContaining(`${connectTimeout} ms`) as string,
      });
      server.process.resume();
      await comesBack();
      const heard = collect<string>();
      const end = await call(subscriber, heard.add);
      await server.expire('late:1');
      expect(await heard.one()).toBe('late:1');
      await end();
    });
  });

  /** A user who may do all but hear of any keys but these. */
  const hearing = async (...patterns: string[]): Promise<object> => {
    await server.redis.acl(
      'SETUSER',
      ...['limited', 'on', '>secret', '+@all', '~*', 'resetchannels'],
      ...patterns.map((pattern) => `&__keyspace@0__:${pattern}`),
    );
    return { username: 'limited', password: 'secret' };
  };

  it('that is refused takes nothing from another one that begins at the same time', async () => {
    const user = await hearing('k*', 'late:*');
    const { subscriber } = await runningGroup(server, user);
    const heard = collect<string>();

    const [refused, allowed] = await Promise.allSettled([
      subscriber.subscribe('lamp:*', () => undefined, { group: false }),
      subscriber.subscribe('late:*', ({ key }) => heard.add(key), {
        group: false,
      }),
    ]);

    expect(refused).toMatchObject({
      status: 'rejected',
      reason: { code: 'SUBSCRIPTION_REFUSED' },
    });
    expect(allowed.status).toBe('fulfilled');
    await server.expire('late:1');
    expect(await heard.one()).toBe('late:1');
    expect(subscriber.status().nodes).toMatchObject([
      { state: 'listening', patterns: ['late:*'], refused: [] },
    ]);
  });

  it('of a group of its own that is refused gives back what the group had taken', async () => {
    const user = await hearing('k*');
    const { subscriber } = await runningGroup(server, user);
    const subscribe = (heard: (key: string) => void) =>
      subscriber.subscribe('late:*', ({ key }) => heard(key), {
        group: 'other',
      });
    const before = await server.connections();

    await expect(subscribe(() => undefined)).rejects.toMatchObject({
      code: 'SUBSCRIPTION_REFUSED',
    });

    expect(subscriber.status().groups.map(({ group }) => group)).toEqual([
      'presence',
    ]);
    expect(await groupState(server, 'other')).not.toHaveProperty('lease');
    await eventually(async () =>
      expect(await server.connections()).toHaveLength(before.length),
    );

    await hearing('k*', 'late:*');
    const heard = collect<string>();
    await subscribe(heard.add);
    // It watches at once, and waits for no lease of its own to run out.
    expect(subscriber.status().groups).toMatchObject([
      { group: 'presence' },
      { group: 'other', leads: true },
    ]);
    await server.expire('late:1');
    expect(await heard.one()).toBe('late:1');
  });

  it('in its own group that is refused is not listened for any more, and its group goes on', async () => {
    const user = await hearing('k*');
    const { subscriber, goesOn } = await runningGroup(server, user);

    await expect(
      subscriber.subscribe('late:*', () => undefined),
    ).rejects.toMatchObject({ code: 'SUBSCRIPTION_REFUSED' });

    await goesOn('k1');
    expect(subscriber.status().groups[0]!.nodes).toMatchObject([
      { patterns: ['k*'], refused: [] },
    ]);
  });
});

describe('with lazyConnect', () => {
  const waiting = ['psubscribe()', ...names.slice(2)];

  /** An application that has started, though Redis is not there, and a call that waits for Redis. */
  async function startedWithoutRedis(call: Call) {
    const server = await new TestServer().start();
    onTestFinished(() => server.stop());
    await server.kill();
    const connectTimeout = paced(300);
    const { logs, close, subscriber } = await runningGroup(server, {
      lazyConnect: true,
      connectTimeout,
    });
    const heard = collect<string>();
    let settled = false;
    const called = call(subscriber, heard.add).finally(() => (settled = true));
    called.catch(() => undefined);
    // Two times the time after which others give up.
    const warnings = () => logs.texts('warn', 'not reached yet').length;
    await eventually(() => expect(warnings()).toBeGreaterThan(0));
    await new Promise((resolve) => setTimeout(resolve, connectTimeout));
    expect(settled).toBe(false);
    return { server, called, heard, close };
  }

  it.each(waiting)(
    '%s resolves when Redis acknowledged, however long it was away',
    async (name) => {
      const { server, called, heard } = await startedWithoutRedis(calls[name]!);
      await server.restart();

      await called;

      // By a connection of its own, so that nothing but the acknowledgement comes before it.
      await server.expire('late:1');
      expect(await heard.one()).toBe('late:1');
    },
  );

  it.each(waiting)('%s rejects when the application closes', async (name) => {
    const { called, close } = await startedWithoutRedis(calls[name]!);

    await close();

    await expect(called).rejects.toMatchObject({ code: 'CLOSED' });
  });

  describe('where Redis is there', () => {
    const server = useServer();

    it.each(waiting)(
      '%s that is refused rejects, and works once it is allowed',
      async (name) => {
        await server.redis.acl(
          'SETUSER',
          ...['limited', 'on', '>secret', '+@all', '~k*', '~rx:self-test:*'],
          ...['~rx:{presence}:*', 'resetchannels', '&__keyspace@0__:k*'],
          '&__keyspace@0__:rx:self-test:*',
        );
        const { subscriber, goesOn } = await runningGroup(server, {
          username: 'limited',
          password: 'secret',
          lazyConnect: true,
        });
        await expect(
          calls[name]!(subscriber, () => undefined),
        ).rejects.toMatchObject({
          code: name.includes('of its own')
            ? 'GROUP_REFUSED'
            : 'SUBSCRIPTION_REFUSED',
        });

        await subscriber.ready();
        await goesOn('k1');
        await server.redis.acl('SETUSER', 'limited', '~*', '&*');
        const heard = collect<string>();
        await calls[name]!(subscriber, heard.add);
        await server.expire('late:1');
        expect(await heard.one()).toBe('late:1');
      },
    );
  });
});
