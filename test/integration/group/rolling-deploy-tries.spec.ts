import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

describe('a group whose instances have different handlers', () => {
  const server = useServer();

  it('takes for a try only what a handler tried', async () => {
    const retry = { attempts: 1, backoff: 20 };
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('a:*', () => undefined)], { retry });
    await groupApp(server, [handler('b:*', events.add)], { retry });
    for (const key of names('b:', 40))
      await server.redis.set(key, '1', 'PX', 300);

    await events.next(40);
    await groupIsDone(server);
    expect(new Set(events.all.map(({ attempt }) => attempt))).toEqual(
      new Set([1]),
    );
    expect(await groupState(server)).not.toHaveProperty('dead');
  });
});
