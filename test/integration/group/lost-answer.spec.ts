import { expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { useServer } from '../../support/servers.js';

const server = useServer();

it('takes again at once what was given to it over a connection that broke', async () => {
  const events = collect<KeyExpiredEvent>();
  await groupApp(server, [handler('k*', events.add)]);
  const { redis } = server;
  await server.expire('k1');
  await events.one();
  await groupIsDone(server);
  const [[, name]] = (await redis.xinfo(
    'CONSUMERS',
    'rx:{presence}:events',
    'presence',
  )) as [[string, string]];
  // Given to this very instance, which hears nothing of it: as when the connection broke before the answer came.
  // In one step, or the instance's own read would get it.
  const replies = await redis
    .multi()
    .xadd(
      'rx:{presence}:events',
      ...['*', 'k', 'k2', 'd', '', 't', '1', 's', 'notification'],
    )
    .xreadgroup(
      ...(['GROUP', 'presence', name, 'COUNT', 1] as const),
      ...(['STREAMS', 'rx:{presence}:events', '>'] as const),
    )
    .exec();
  expect(replies![1]![1]).toHaveLength(1);
  await redis.call('CLIENT', 'KILL', 'TYPE', 'normal');

  const event = await events.one();

  expect(event).toMatchObject({ key: 'k2', attempt: 1 });
  await eventually(async () =>
    expect(await redis.xlen('rx:{presence}:events')).toBe(0),
  );
});
