import { describe, expect, it } from 'vitest';
import { RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { json, statusOf, untilDead } from '../../support/cli/group.js';
import { useCluster } from '../../support/cluster.js';
import { eventually } from '../../support/eventually.js';
import { handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';

const fail = (): never => {
  throw new Error('on purpose');
};

describe('a group on a Cluster', () => {
  const cluster = useCluster(3, {
    args: ['--cluster-require-full-coverage', 'no'],
  });

  const group = () =>
    createApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: { nodes: cluster.nodes },
          group: 'presence',
          retry: { attempts: 1 },
        }),
      ],
      providers: [handler('k*', fail)],
    });

  it('is told of by any node, with all of its partitions', async () => {
    const app = await group();
    const redis = await cluster.connect();
    const keys = names('k', 30);
    for (const key of keys) await redis.set(key, '', 'PX', 60_000);
    for (const { url, address } of await cluster.primaries())
      await eventually(async () => {
        const { code, data } = await statusOf(url, '--strict');
        expect(code).toBe(0);
        expect(data.address).toBe(address);
        expect(data.total.tracked).toBe(30);
        const { groups } = app.subscriber.status();
        const tags = data.partitions.map(({ tag }) => tag).toSorted();
        expect(tags).toEqual(
          groups[0]!.partitions.map(({ tag }) => tag).toSorted(),
        );
        const [instance] = data.instances;
        for (const { leader } of data.partitions)
          expect(leader).toBe(instance!.name);
      });
  });

  it('is told of where one of its partitions is silent', async () => {
    const app = await group();
    await app.subscriber.ready();
    const home = await cluster.primaryOf('rx:{presence}:index');
    const { data: before } = await statusOf(home.url);
    const other = before.partitions.find(({ node }) => node !== home.address)!;
    const server = cluster.servers.find(
      ({ address }) => address === other.node,
    );
    server!.process.pause();
    const { code, data } = await statusOf(home.url, '--strict');
    server!.process.resume();
    expect([code, data.partitions.length]).toEqual([1, 2]);
    expect(data.silent).toMatchObject([{ tag: other.tag, node: other.node }]);
    expect(data.warnings).toContainEqual(
      expect.stringContaining(
        `partition ${other.tag} on ${other.node} cannot be asked: `,
      ),
    );
  });

  it('has one list of dead letters', async () => {
    const app = await group();
    await app.subscriber.ready();
    const redis = await cluster.connect();
    const keys = names('k', 12);
    for (const key of keys) await redis.set(key, '', 'PX', 200);
    await untilDead(app, 12);
    const [first] = await cluster.primaries();
    const letters: { readonly id: string; readonly key: string }[] = [];
    for (let after: string | undefined; ;) {
      const { data } = await json<{ letters: typeof letters; next?: string }>(
        ...['dead-letters', 'list', first!.url, '--group', 'presence'],
        ...['--count', '5', ...(after === undefined ? [] : ['--after', after])],
      );
      letters.push(...data.letters);
      after = data.next;
      if (after === undefined) break;
    }
    expect(letters.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());

    const [one, ...others] = letters.map(({ id }) => id);
    const shown = await json('dead-letters', 'show', first!.url, one!);
    expect(shown.data).toMatchObject({ id: one, key: letters[0]!.key });
    const ended = await json(
      ...['dead-letters', 'discard', first!.url, ...others],
    );
    expect(ended.data).toEqual({ discarded: 11, missing: [] });
    const redriven = await json('dead-letters', 'redrive', first!.url, one!);
    expect(redriven.data).toEqual({ redriven: 1, missing: [] });
    // It fails again.
    await eventually(async () => {
      const [letter] = await app.subscriber.deadLetters();
      expect(letter?.key).toBe(letters[0]!.key);
      expect(letter?.id).not.toBe(one);
    });
  });
});
