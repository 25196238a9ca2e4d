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

describe("an entry in a group's stream that cannot be read", () => {
  const server = useServer();
  const options = { retry: { attempts: 2, backoff: 20 } };

  it('is no event of the empty key', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('*', events.add)], options);
    await server.redis.xadd(EVENTS, '*', 'foo', 'bar');
    await server.expire('k');
    await groupIsDone(server);
    await eventually(() => expect(events.all).not.toEqual([]));

    expect(events.all.map(({ id }) => id)).toEqual([
      expect.stringMatching(/^k@\d+$/),
    ]);
    expect(await groupState(server)).toMatchObject({ dead: 1 });
  });

  it.for([
    ['without tries', { k: 'eA==', t: 1, s: 'notification' }],
    ['with tries that are no number', { k: 'eA==', t: 1, a: 'x' }],
  ])('comes to an end: a payload %s', async ([, payload]) => {
    const { logs } = await groupApp(server, [handler('k*', () => undefined)], {
      retry: { attempts: 2 },
    });
    await server.redis.xadd(EVENTS, '*', 'p', JSON.stringify(payload));
    await groupIsDone(server);

    expect(await groupState(server)).toMatchObject({ dead: 1 });
    expect(logs.texts('debug', 'Ending events failed')).toEqual([]);
  });
});
