import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

const INDEX = 'rx:{presence}:index';

describe('deletions in a group', () => {
  const server = useServer();

  it('are proven together, at most once a second, however many there are', async () => {
    const { redis } = server;
    const events = collect<KeyExpiredEvent>();
    // To change what is heard takes commands, too.
    const options = { renewals: 'heard' } as const;
    await groupApp(server, [handler('k*', events.add)], options);
    const [burst, single] = [names('k-burst-', 2_000), names('k-one-', 1_500)];
    const pipeline = redis.pipeline();
    for (const key of [...burst, ...single]) pipeline.set(key, '', 'EX', 600);
    await pipeline.exec();
    await eventually(async () =>
      expect(await redis.zcard(INDEX)).toBe(burst.length + single.length),
    );
    await redis.config('RESETSTAT');
    const began = performance.now();

    await redis.del(...burst);
    // One by one: each is announced by itself.
    for (const key of single) await redis.del(key);
    await eventually(async () => expect(await redis.zcard(INDEX)).toBe(0));

    const calls = await server.commandCalls();
    const seconds = Math.ceil((performance.now() - began) / 1_000);
    console.log(`3,500 deletions in ${seconds} s:`, calls);
    // One that is under way at either end; what the flags are is looked at every 15 s besides.
    const rounds = seconds + 2 + Math.ceil(seconds / 15);
    expect(calls['config|get']).toBeLessThanOrEqual(rounds);
    expect(calls['info']).toBeLessThanOrEqual(2 * rounds + 1);
    // Two for 500 keys, two for what is left of a round, and what a group does every second anyway.
    const chunks = (burst.length + single.length) / 500 + rounds;
    expect(calls['evalsha']).toBeLessThan(2 * chunks + 10 * rounds);
    await redis.set('k-fence', '', 'PX', 50);
    expect(await events.one()).toMatchObject({ key: 'k-fence' });
    await groupIsDone(server);
    expect(events.all).toHaveLength(1);
  });

  it('are told from expiries by what was announced, though both come at once', async () => {
    const { redis } = server;
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k*', events.add)]);
    const all = names('k', 600);
    const deadline = Date.now() + 1_500;
    const pipeline = redis.pipeline();
    for (const key of all) pipeline.set(key, '', 'PXAT', deadline);
    await pipeline.exec();
    await eventually(async () => expect(await redis.zcard(INDEX)).toBe(600));
    // Half of them go less than a second before their deadlines, so that those come before the proof.
    await eventually(() => expect(Date.now()).toBeGreaterThan(deadline - 500));
    expect(await redis.del(...all.slice(0, 300))).toBe(300);

    const handled = await events.next(300);
    await eventually(async () => expect(await redis.zcard(INDEX)).toBe(0));
    await groupIsDone(server);

    expect(handled.map(({ key }) => key).toSorted()).toEqual(
      all.slice(300).toSorted(),
    );
    expect(events.all).toHaveLength(300);
  });
});
