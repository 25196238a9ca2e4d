import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import type { TestApp } from '../../support/app.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

/** What the wrong instance took comes to the right one in the end. */
const retry = { attempts: 50, backoff: 20 };

const leads = ({ subscriber }: TestApp): boolean =>
  subscriber.status().groups[0]!.leads;
const watches = ({ subscriber }: TestApp): readonly string[] =>
  subscriber.status().groups[0]!.nodes[0]!.patterns.toSorted();
const keysOf = (events: readonly KeyExpiredEvent[]): string[] =>
  [...new Set(events.map(({ key }) => key))].toSorted();

describe('a group whose instances have different handlers, as during a rolling deploy', () => {
  const server = useServer();
  /** One instance for each pattern, the first of which leads. */
  async function deploy(...patterns: string[]) {
    const instances = [];
    for (const pattern of patterns) {
      const events = collect<KeyExpiredEvent>();
      const app = await groupApp(server, [handler(pattern, events.add)], {
        retry,
      });
      instances.push({ app, events });
    }
    expect(instances.map(({ app }) => leads(app))).toEqual(
      patterns.map((_, i) => i === 0),
    );
    return instances;
  }
  const setAll = async (keys: readonly string[], ms: number) => {
    for (const key of keys) await server.redis.set(key, '1', 'PX', ms);
  };

  it.for([
    ['the older one', 'a', 'b'],
    ['the newer one', 'b', 'a'],
  ] as const)(
    'hands each key to the one that has its handler, where %s leads',
    async ([, leader, follower]) => {
      const [first, second] = await deploy(`${leader}:*`, `${follower}:*`);
      expect(watches(first!.app)).toEqual(['a:*', 'b:*']);
      await setAll(names(`${leader}:`, 40), 300);
      await setAll(names(`${follower}:`, 40), 300);
      // And such as nobody could have known.
      await server.expire(`${leader}:now`, `${follower}:now`);

      await Promise.all([first!.events.next(41), second!.events.next(41)]);
      await groupIsDone(server);
      expect(keysOf(first!.events.all)).toEqual(
        [...names(`${leader}:`, 40), `${leader}:now`].toSorted(),
      );
      expect(keysOf(second!.events.all)).toEqual(
        [...names(`${follower}:`, 40), `${follower}:now`].toSorted(),
      );
      expect(await groupState(server)).not.toHaveProperty('dead');
    },
  );

  it('goes on doing so when the one that leads leaves', async () => {
    const [first, second, third] = await deploy('a:*', 'b:*', 'a:*');
    await setAll([...names('a:', 20), ...names('b:', 20)], 3_000);
    await eventually(async () => {
      expect((await groupState(server))['index']).toBe(40);
    });
    await first!.app.close();
    await eventually(() =>
      expect([second!.app, third!.app].some((app) => leads(app))).toBe(true),
    );

    await Promise.all([second!.events.next(20), third!.events.next(20)]);
    await groupIsDone(server);
    expect(first!.events.all).toEqual([]);
    expect(keysOf(second!.events.all)).toEqual(names('b:', 20).toSorted());
    expect(keysOf(third!.events.all)).toEqual(names('a:', 20).toSorted());
  });

  it('has a handler that is added at run time where nobody leads watched for by whoever does', async () => {
    const [first, second] = await deploy('a:*', 'b:*');
    const late = collect<KeyExpiredEvent>();
    await second!.app.subscriber.subscribe('late:*', late.add);
    // From here on: nothing is lost that is written now.
    expect(watches(first!.app)).toEqual(['a:*', 'b:*', 'late:*']);
    await setAll(names('late:', 40), 200);
    await server.expire('late:now');

    await late.next(41);
    await groupIsDone(server);
    expect(keysOf(late.all)).toEqual(
      [...names('late:', 40), 'late:now'].toSorted(),
    );
    expect(leads(second!.app)).toBe(false);
  });
});
