import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { useServer } from '../../support/servers.js';

const EVENTS = 'rx:{presence}:events';
const options = { retry: { attempts: 2, backoff: 20 } };

describe("an entry in a group's stream that cannot be read", () => {
  const server = useServer();
  const add = (...fields: (string | Buffer)[]) =>
    server.redis.xadd(EVENTS, '*', ...fields);

  it.for([
    ['with other fields', ['foo', 'bar']],
    ['with a payload that is no JSON', ['p', 'no JSON']],
    ['with a payload that is cut off', ['p', '{"k":"azE=","t":']],
    ['with a payload that is null', ['p', 'null']],
    ['with a payload that is a number', ['p', '5']],
    ['with a payload without a key', ['p', '{"t":1,"s":"notification","a":0}']],
    ['with a key that is no text', ['p', '{"k":7,"t":1,"a":0}']],
    ['that is no text', ['p', Buffer.from([0xff, 0, 0xfe])]],
    ['with an empty payload', ['p', '']],
  ] as const)(
    'becomes a dead letter, %s, and holds up nothing',
    async ([, fields]) => {
      const events = collect<KeyExpiredEvent>();
      const { subscriber } = await groupApp(
        server,
        [handler('k*', events.add)],
        options,
      );
      await add(...fields);
      await server.expire('k1');
      expect((await events.one()).key).toBe('k1');
      await groupIsDone(server);

      const letters = await subscriber.deadLetters('presence');
      expect(letters).toMatchObject([
        { group: 'presence', error: expect.stringContaining('handler') },
      ]);
      expect(subscriber.status().counters).toMatchObject({
        ...{ handled: 1, failed: 0, deadLettered: 1 },
      });
      expect(await subscriber.discard(letters[0]!.id)).toBe(true);
      await server.expire('k2');
      expect((await events.one()).key).toBe('k2');
      await groupIsDone(server);
      await eventually(async () =>
        expect(await groupState(server)).not.toHaveProperty('index'),
      );
    },
  );

  it('is kept as it is in its letter, to be looked at', async () => {
    const { subscriber } = await groupApp(
      server,
      [handler('*', () => undefined)],
      options,
    );
    await add('p', 'of a version to come');
    const letters = await eventually(async () => {
      const all = await subscriber.deadLetters('presence');
      expect(all).toHaveLength(1);
      return all;
    });

    expect(letters[0]).toMatchObject({
      ...{ key: 'of a version to come', handler: '(not readable)' },
    });
  });

  it('holds up nothing where there are hundreds, more than may run at once', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(server, [handler('k*', events.add)], {
      concurrency: 5,
      retry: { attempts: 1 },
    });
    const pipeline = server.redis.pipeline();
    for (let i = 0; i < 300; i++)
      pipeline.xadd(EVENTS, '*', i % 2 ? 'p' : 'foo', `{${i}`);
    await pipeline.exec();
    await server.expire('k1');

    expect((await events.one()).key).toBe('k1');
    await groupIsDone(server);
    expect((await groupState(server))['dead']).toBe(300);
    expect(subscriber.status()).toMatchObject({ queued: 0, running: 0 });
  });

  it('is a handler run all the same where only its times are missing', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k*', events.add)], options);
    await add('k', 'k1');

    expect(await events.one()).toMatchObject({
      ...{ key: 'k1', source: 'notification', attempt: 1 },
    });
    await groupIsDone(server);
  });
});
