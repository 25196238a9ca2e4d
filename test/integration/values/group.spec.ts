import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';
import { useServer } from '../../support/servers.js';
import { LEAD, MODES, TTL, shown, valueApp } from '../../support/values.js';

const GROUP = { group: 'presence' };
const VALUES = { values: { lead: LEAD } };
const BINARY = Buffer.from([0, 255, 128, 10]);

describe('the value of a key of a group', () => {
  const server = useServer();

  it('is the same on every try, in the dead letter, and when that is tried anew', async () => {
    const app = await valueApp(
      server,
      { ...GROUP, retry: { attempts: 2, backoff: 20 } },
      { value: 'buffer' },
      () => [
        handler(
          'k*',
          ({ value }) => {
            hashes.push(value);
            if (hashes.length < 4) throw new Error('on purpose');
          },
          { value: 'hash' },
          'Hash',
        ),
      ],
    );
    const hashes: unknown[] = [];
    const { redis } = server;
    const { events, subscriber } = app;
    const fields = { battery: '3', ü: '"' };
    await redis.hset('k:hash', fields);
    await redis.pexpire('k:hash', TTL);
    await eventually(async () =>
      expect(await subscriber.deadLetters()).toHaveLength(1),
    );

    expect(hashes).toEqual([fields, fields]);
    expect(shown(await events.one())).toEqual({});
    const [letter] = await subscriber.deadLetters();
    expect(letter).toMatchObject({ key: 'k:hash', value: fields });
    expect(letter).not.toHaveProperty('valueBuffer');
    await subscriber.redrive(letter!.id);
    await eventually(() => expect(hashes).toHaveLength(4));
    expect(hashes).toEqual([fields, fields, fields, fields]);
    await groupIsDone(server);
  });

  it('is told by a dead letter as text and bytes', async () => {
    const fail = (): never => {
      throw new Error('on purpose');
    };
    const { subscriber } = await groupApp(
      server,
      [
        handler('k*', fail, { value: 'buffer' }),
        handler('p', fail, {}, 'Plain'),
      ],
      { ...VALUES, retry: { attempts: 1 } },
    );
    await server.redis.set('k', BINARY, 'PX', TTL);
    await server.redis.set('p', 'x', 'PX', TTL);
    await eventually(async () =>
      expect(await subscriber.deadLetters()).toHaveLength(2),
    );

    const letters = await subscriber.deadLetters();
    const of = (key: string) => letters.find((letter) => letter.key === key)!;
    expect(of('k')).toMatchObject({
      value: BINARY.toString(),
      valueBuffer: BINARY,
    });
    expect(of('p')).not.toHaveProperty('value');
  });

  it('is the same when another instance takes over what one left behind', async () => {
    const begun = collect<KeyExpiredEvent>();
    const hang = (event: KeyExpiredEvent): Promise<void> => {
      begun.add(event);
      return new Promise(() => undefined);
    };
    const first = await groupApp(
      server,
      [handler('k*', hang, { value: 'buffer' })],
      { ...VALUES, shutdownTimeout: 0, leaseDuration: 300 },
    );
    await server.redis.set('k', BINARY, 'PX', TTL);
    expect(shown(await begun.one())).toEqual({ value: BINARY });
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k*', events.add, { value: 'buffer' })], {
      ...VALUES,
      leaseDuration: 300,
    });
    await first.close();

    const [before, after] = [begun.all[0]!, await events.one()];
    expect(after).toMatchObject({ key: 'k', id: before.id, value: BINARY });
    expect(after.valueAge).toBe(before.valueAge);
    await groupIsDone(server);
  });

  it('is read by the instance that leads for the handlers of another one', async () => {
    const leader = await groupApp(
      server,
      [handler('other', () => undefined)],
      VALUES,
    );
    expect(leader.subscriber.status().groups[0]!.leads).toBe(true);
    const { events, subscriber } = await valueApp(server, GROUP);
    expect(subscriber.status().groups[0]!.leads).toBe(false);
    const values: unknown[] = [];
    // The pattern is known; that values of it are asked for in another type, too, is news.
    await subscriber.subscribe('k*', ({ value }) => values.push(value), {
      value: 'hash',
    });

    await server.redis.set('k:text', 'text', 'PX', TTL);
    await server.redis.hset('k:hash', { a: 'b' });
    await server.redis.pexpire('k:hash', TTL);

    const texts = (await events.next(2)).map(({ value }) => value);
    expect(texts).toEqual(expect.arrayContaining(['text', undefined]));
    await eventually(() => expect(values).toHaveLength(2));
    expect(values).toEqual(expect.arrayContaining([{ a: 'b' }, undefined]));
  });
});

describe('the value of a key on a server that announces nothing', () => {
  const server = useServer();

  it('is there in a group, which looks by itself', async () => {
    // Known by the first scan.
    await server.redis.set('k', 'v', 'PX', paced(3_000));
    const { events } = await valueApp(server, {
      ...GROUP,
      notifications: 'off',
    });

    expect(shown(await events.one())).toEqual({ value: 'v' });
  });

  it('cannot be asked for with punctual: false', async () => {
    await expect(valueApp(server, { punctual: false })).rejects.toMatchObject({
      code: 'INVALID_OPTION_VALUE',
      message: expect.stringContaining('punctual: false') as string,
    });
    const { subscriber } = await valueApp(server, { punctual: false }, {});
    await expect(
      subscriber.subscribe('k', () => undefined, { value: 'json' }),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION_VALUE' });
    expect(() =>
      subscriber.expirations('k', { value: 'xml' as 'json' }),
    ).toThrow(/"value" is "xml"; accepted: 'text'/);
  });
});

describe('the value of a key that ran out while nobody listened', () => {
  const server = useServer();
  let link: TcpProxy;
  beforeAll(async () => {
    link = await TcpProxy.start(server.port);
  });
  afterAll(() => link.close());

  it('is not there, though it was read when the connection was lost', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(link, [handler('k*', events.add, { value: 'text' })], {
      values: { lead: paced(2_000) },
    });
    const deadline = Date.now() + paced(1_500);
    await server.redis.set('k', 'v', 'PXAT', deadline);
    await eventually(async () =>
      expect((await server.commandCalls())['getrange']).toBe(2),
    );
    await link.refuse();
    link.cut();
    await eventually(async () =>
      expect(await server.redis.exists('k')).toBe(0),
    );
    await link.pass();

    const event = await events.one();
    expect(event).toMatchObject({ key: 'k', source: 'recovery' });
    expect(event).not.toHaveProperty('value');
    // What comes afterwards has one again.
    await server.redis.set('k2', 'v2', 'PX', TTL);
    expect(shown(await events.one())).toEqual({ value: 'v2' });
  });
});

describe.each(MODES)('the value of a key on a Cluster, in %s,', (_, mode) => {
  const cluster = useCluster(3);

  it('is read on each node', async () => {
    const redis = await cluster.connect();
    const { events } = await valueApp(
      cluster.servers[0]!,
      { ...mode, connection: { nodes: cluster.nodes } },
      { value: 'text' },
    );
    const keys = names('k', 120);
    const deadline = Date.now() + paced(2_500);
    await Promise.all(
      keys.map((key) => redis.set(key, `of ${key}`, 'PXAT', deadline)),
    );

    const all = await events.next(120);
    expect(all.filter(({ key, value }) => value !== `of ${key}`)).toEqual([]);
  });
});
