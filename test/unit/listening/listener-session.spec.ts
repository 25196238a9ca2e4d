import type { Redis } from 'ioredis';
import { type TestContext, describe, expect, it } from 'vitest';
import { ownClientOptions } from '../../../lib/connection/client-options.js';
import { INVALIDATIONS } from '../../../lib/listening/key-tracker.js';
import { ListenerSession } from '../../../lib/listening/listener-session.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { bedOf } from '../../support/faults/bed.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import { bytesLeft } from '../../support/heap.js';
import { onEveryServer } from '../../support/servers.js';

onEveryServer('ListenerSession', (server) => {
  const own = { ...ownClientOptions('listener'), retryStrategy: null };

  it('leaves nothing behind of an answer that came', async (context) => {
    const session = new ListenerSession(
      server.client(own),
      () => undefined,
      () => undefined,
    );
    context.onTestFinished(() => session.close());
    await session.connect();

    const left = await bytesLeft(2_000, async (times) => {
      for (let i = 0; i < times; i += 100)
        await Promise.all(Array.from({ length: 100 }, () => session.ping()));
    });

    // About 600 where each answer races against the end of the session.
    expect(left).toBeLessThan(200);
  });

  it('leaves nothing behind of a tracker that another one replaced', async (context) => {
    const session = new ListenerSession(
      server.client(own),
      () => undefined,
      () => undefined,
    );
    context.onTestFinished(() => session.close());
    await session.connect();
    await session.sync([INVALIDATIONS]);

    let prefixes = 0;
    const left = await bytesLeft(50, async (times) => {
      for (let i = 0; i < times; i++)
        await session.track([Buffer.from(`p${prefixes++}:`)], () =>
          server.client({ ...own, connectionName: 'tracker' }),
        );
    });

    // A client that is kept is about 10,000.
    expect(left).toBeLessThan(4_000);
    await eventually(async () => {
      const names = (await server.connections()).map(({ name }) => name);
      expect(names.toSorted()).toEqual(['listener', 'tracker']);
    });
  });

  describe('that ends while a tracker is opened', () => {
    const PREFIX = [Buffer.from('k')];

    async function scene(context: TestContext) {
      const bed = bedOf(context);
      const proxy = await TcpProxy.start(server.port);
      bed.defer(() => proxy.close());
      const changed = collect<string>();
      const client = (name: string, port = server.port): Redis => {
        const own = { ...ownClientOptions(name), retryStrategy: null };
        const made = server.client({ ...own, port });
        bed.defer(() => made.disconnect());
        return made;
      };
      /** A session that hears what is tracked. */
      const begin = async (): Promise<ListenerSession> => {
        const session = new ListenerSession(
          client('listener'),
          () => undefined,
          (keys) => {
            for (const key of keys) changed.add(key.toString());
          },
        );
        await session.connect();
        await session.sync([INVALIDATIONS]);
        return session;
      };
      const named = async (name: string) =>
        (await server.connections()).filter((each) => each.name === name);
      const killListener = async (): Promise<void> => {
        const [listener] = await named('listener');
        await server.redis.client('KILL', 'ID', listener!.id);
      };
      /** Nothing is left of it, and the next one tracks. */
      const isReplaced = async (): Promise<void> => {
        await eventually(async () => {
          expect(await server.connections()).toEqual([]);
          expect(proxy.connections).toBe(0);
        });
        const next = await begin();
        expect(await next.track(PREFIX, () => client('tracker'))).toBe(true);
        await server.redis.set('k1', '1');
        expect(await changed.one()).toBe('k1');
        next.close();
        await eventually(async () =>
          expect(await server.connections()).toEqual([]),
        );
        expect(changed.rest).toEqual([]);
      };
      const tracker = (): Redis => client('tracker', proxy.port);
      return { proxy, begin, named, killListener, isReplaced, tracker };
    }

    it('leaves none behind that nobody answers yet', async (context) => {
      const { proxy, begin, killListener, isReplaced, tracker } =
        await scene(context);
      proxy.silence();
      const session = await begin();
      const tracked = session.track(PREFIX, tracker);
      tracked.catch(() => undefined);
      await eventually(() => expect(proxy.connections).toBe(1));

      await killListener();

      await expect(tracked).rejects.toThrow('the connection closed');
      await isReplaced();
    });

    it('leaves none behind to which the server does not listen yet', async (context) => {
      const { proxy, begin, isReplaced, tracker } = await scene(context);
      const session = await begin();
      server.process.pause();
      const tracked = session.track(PREFIX, tracker);
      tracked.catch(() => undefined);
      await eventually(() => expect(proxy.connections).toBe(1));

      session.close('it fell silent');

      await expect(tracked).rejects.toThrow('it fell silent');
      server.process.resume();
      await isReplaced();
    });

    it('leaves none behind that the server tells already', async (context) => {
      const { proxy, begin, named, killListener, isReplaced, tracker } =
        await scene(context);
      const session = await begin();
      const tracked = session.track(PREFIX, () => {
        const client = tracker();
        // From here on answers do not arrive: TRACKING's is the next one.
        client.on('ready', () => proxy.throttle(0));
        return client;
      });
      tracked.catch(() => undefined);
      // B: it tracks by prefixes.
      await eventually(async () =>
        expect((await named('tracker'))[0]?.flags).toContain('B'),
      );

      await killListener();

      await expect(tracked).rejects.toThrow('the connection closed');
      await isReplaced();
    });

    it('leaves none behind when it had ended before', async (context) => {
      const { begin, killListener, isReplaced, tracker } = await scene(context);
      const session = await begin();
      await killListener();
      await session.lost;

      await expect(session.track(PREFIX, tracker)).rejects.toThrow(
        'the connection closed',
      );

      await isReplaced();
    });

    it('as its tracker was cut off says so, and is replaced', async (context) => {
      const { proxy, begin, isReplaced, tracker } = await scene(context);
      const session = await begin();
      const tracked = session.track(PREFIX, () => {
        const client = tracker();
        client.on('ready', () => proxy.throttle(0));
        return client;
      });
      tracked.catch(() => undefined);
      await eventually(() => expect(proxy.connections).toBe(1));

      proxy.cut();

      await expect(tracked).rejects.toThrow('Connection is closed');
      session.close();
      await isReplaced();
    });
  });
});
