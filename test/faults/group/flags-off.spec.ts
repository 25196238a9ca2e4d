import { expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';
import { useServer } from '../../support/servers.js';

const server = useServer({ args: ['--enable-debug-command', 'yes'] });

it.each([
  ['the flags were off', '', false],
  ['the channels that it listens on were off', 'Exgn', false],
  ['a look under way found the flags off', '', true],
])(
  'takes nothing for deleted that expired while %s, and mends them when it sees that',
  async (_, flags, isLookUnderWay) => {
    const { redis } = server;
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(server, [handler('k*', events.add)]);
    const keys = names('k', 50);
    const [seconds] = await redis.time();
    const deadline = (Number(seconds) + paced(3)) * 1_000;
    const pipeline = redis.pipeline();
    for (const key of keys) pipeline.set(key, '', 'PXAT', deadline);
    await pipeline.exec();
    await eventually(async () =>
      expect(await redis.zcard('rx:{presence}:index')).toBe(50),
    );

    // Its lease outlives so long a sleep.
    const early = Math.min(paced(300), 800);
    await eventually(() =>
      expect(Date.now()).toBeGreaterThan(deadline - early),
    );
    // In one go, so that nobody mends the flags or looks in between: the server sleeps until the keys
    // have run out, and removes them unheard.
    const unheard = redis
      .pipeline()
      .config('SET', 'notify-keyspace-events', flags)
      .call('DEBUG', 'SLEEP', (early + 200) / 1_000);
    for (const key of keys) unheard.exists(key);
    const slept = unheard.exec();
    // What is asked for in the sleep has the flags looked at: they are mended before a key that is due is looked at twice.
    const look =
      isLookUnderWay && subscriber.subscribe('other:*', () => undefined);
    const replies = await slept;
    await look;
    expect(replies!.slice(2).every(([, exists]) => exists === 0)).toBe(true);

    // Long before the flags are looked at anyway, every 15 s.
    const recovered = await events.next(50, 14_000);
    await groupIsDone(server);

    expect(recovered.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
    expect(events.all.every(({ source }) => source === 'recovery')).toBe(true);
    expect(events.all).toHaveLength(50);
    const [node] = subscriber.status().groups[0]!.nodes;
    expect(node).toMatchObject({
      state: 'listening',
      missingFlags: '',
      gaps: 1,
    });
  },
);
