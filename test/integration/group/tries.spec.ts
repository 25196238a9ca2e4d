import { describe, expect, it, onTestFinished } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { deferred, eventually } from '../../support/eventually.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';
import { useServer } from '../../support/servers.js';

describe('what an instance holds that is cut off', () => {
  const server = useServer();

  it('is taken over: what it runs as a second try, what waits in it as a first one, and it runs none of that afterwards', async () => {
    const proxy = await TcpProxy.start(server.port);
    onTestFinished(() => proxy.close());
    /** A handler that says what it was given, and ends when it is released. */
    const held = (name: string, concurrency?: number) => {
      const events = collect<KeyExpiredEvent>();
      const released = deferred();
      const provider = handler(
        'k*',
        (event) => {
          events.add(event);
          return released.promise;
        },
        { ...(concurrency !== undefined && { concurrency }) },
        name,
      );
      return { events, released, provider };
    };
    const attempts = (events: readonly KeyExpiredEvent[]) =>
      Object.fromEntries(events.map(({ key, attempt }) => [key, attempt]));
    const [slow, quick] = [held('Slow', 1), held('Quick')];
    const options = { leaseDuration: paced(300) };
    const first = await groupApp(server, [slow.provider, quick.provider], {
      ...options,
      connection: proxy.url,
    });
    const keys = names('k', 10);
    await server.expire(...keys);
    await quick.events.next(10);
    const { key: running } = await slow.events.one();

    proxy.silence();
    const [heirSlow, heirQuick] = [held('Slow'), held('Quick')];
    await groupApp(server, [heirSlow.provider, heirQuick.provider], options);
    const [ofSlow, ofQuick] = await Promise.all([
      heirSlow.events.next(10),
      heirQuick.events.next(10),
    ]);
    expect(attempts(ofQuick)).toEqual(
      Object.fromEntries(keys.map((key) => [key, 2])),
    );
    expect(attempts(ofSlow)).toEqual(
      Object.fromEntries(keys.map((key) => [key, key === running ? 2 : 1])),
    );

    // Reachable again, the first one goes on with what it has.
    await proxy.pass();
    proxy.cut();
    slow.released.resolve();
    quick.released.resolve();
    await eventually(() =>
      expect(first.subscriber.status()).toMatchObject({
        ...{ queued: 0, running: 0 },
        counters: { handled: 11, dropped: 9 },
      }),
    );
    expect(slow.events.all).toHaveLength(1);
    heirSlow.released.resolve();
    heirQuick.released.resolve();
    await groupIsDone(server);
    expect(heirSlow.events.all).toHaveLength(10);
    expect(await groupState(server)).not.toHaveProperty('runs');
  });
});

describe('a group that may not note which handlers run', () => {
  const server = useServer();

  it('handles every event all the same, and says once what that means', async () => {
    await server.redis.acl(
      ...(['SETUSER', 'app', 'on', '>pw', '~*', '&*', '+@all'] as const),
      ...['-hset', '-hmget', '-hdel'],
    );
    const events = collect<KeyExpiredEvent>();
    const { logs } = await groupApp(
      server,
      [
        handler('k*', (event) => {
          events.add(event);
          if (event.attempt === 1) throw new Error('on purpose');
        }),
      ],
      {
        connection: server.url.replace('redis://', 'redis://app:pw@'),
        retry: { backoff: 10 },
      },
    );
    await server.expire(...names('k', 10));
    await events.next(20);
    await groupIsDone(server);

    expect(events.all).toHaveLength(20);
    expect(
      logs.texts('warn', 'Redis refuses to note which handlers'),
    ).toHaveLength(1);
  });
});
