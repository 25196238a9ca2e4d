import { describe, expect, it, onTestFinished } from 'vitest';
import type {
  KeyExpiredEvent,
  RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { TestServer, useServer } from '../../support/servers.js';

/** An application whose start does not wait for Redis. */
async function lazyApp(
  server: TestServer,
  connection: object = {},
  options: RedisExpiryModuleOptions = {},
) {
  const events = collect<KeyExpiredEvent>();
  const app = await groupApp(server, [handler('k*', events.add)], {
    connection: {
      ...{ host: server.host, port: server.port },
      ...{ lazyConnect: true, connectTimeout: 1_000 },
      ...connection,
    },
    ...options,
  });
  const failures = (part: string): string[] =>
    app.logs.texts('error', 'is tried again').filter((t) => t.includes(part));
  return { ...app, subscriber: app.subscriber, events, failures };
}

type LazyApp = Awaited<ReturnType<typeof lazyApp>>;

/** It works without a restart: what is known in time and what is not comes, once. */
async function works(server: TestServer, app: LazyApp): Promise<void> {
  await eventually(() =>
    expect(app.subscriber.status().groups).toMatchObject([
      { leads: true, nodes: [{ state: 'listening' }] },
    ]),
  );
  for (const key of names('k', 20)) await server.redis.set(key, '1', 'PX', 300);
  await server.expire('k-now');
  await app.events.next(21);
  await groupIsDone(server);

  expect(app.events.all.map(({ key }) => key).toSorted()).toEqual(
    [...names('k', 20), 'k-now'].toSorted(),
  );
  expect(await groupState(server)).not.toHaveProperty('dead');
}

describe('a group whose start does not wait for Redis (lazyConnect)', () => {
  const server = useServer();
  const user = { username: 'limited', password: 'secret' };

  it('works once Redis is there', async () => {
    const late = await new TestServer().start();
    onTestFinished(() => late.stop());
    await late.process.kill();
    const app = await lazyApp(late);
    expect(app.subscriber.status().groups).toMatchObject([{ leads: false }]);

    await late.process.restart();
    await works(late, app);
  });

  it('works once the replica that it found is promoted', async () => {
    await server.redis.replicaof('127.0.0.1', 1);
    onTestFinished(async () => {
      await server.redis.replicaof('NO', 'ONE');
    });
    const app = await lazyApp(server);
    // Tried, and tried again.
    await eventually(() =>
      expect(app.failures('replica').length).toBeGreaterThanOrEqual(2),
    );
    await server.redis.replicaof('NO', 'ONE');

    await works(server, app);
  });

  it.for([
    ['no writing at all', ['~*', '&*', '+@all', '-@write'], 'presence'],
    ['no scripts', ['~*', '&*', '+@all', '-eval', '-evalsha'], 'presence'],
    ['no keys of its own', ['~k*', '&*', '+@all'], 'presence'],
    ['no stream', ['~*', '&*', '+@all', '-xreadgroup', '-xgroup'], 'presence'],
    ['no channels', ['~*', 'resetchannels', '+@all'], 'refuses the subs'],
  ] as const)(
    'works once a user who had %s is given the rights',
    async ([, rules, reason]) => {
      await server.redis.acl('SETUSER', 'limited', 'on', '>secret', ...rules);
      const app = await lazyApp(server, user);
      await eventually(() =>
        expect(app.failures(reason).length).toBeGreaterThanOrEqual(2),
      );
      await server.redis.acl('SETUSER', 'limited', '~*', '&*', '+@all');

      await works(server, app);
    },
  );

  it('works once the password is right', async () => {
    await server.redis.acl('SETUSER', 'limited', 'on', '>other', '~*', '&*');
    await server.redis.acl('SETUSER', 'limited', '+@all');
    const app = await lazyApp(server, user);
    await eventually(() => expect(app.logs.everything).toMatch(/WRONGPASS/));
    await server.redis.acl('SETUSER', 'limited', '>secret');

    await works(server, app);
  });

  it('is not tried any more once the application is closed', async () => {
    await server.redis.acl('SETUSER', 'limited', 'on', '>secret', '+info');
    const app = await lazyApp(server, user);
    await eventually(() => expect(app.failures('presence')).not.toEqual([]));
    await app.close();
    const { length } = app.logs.lines;
    await server.redis.acl('SETUSER', 'limited', '~*', '&*', '+@all');
    // As long as until the next try.
    await new Promise((resolve) => setTimeout(resolve, 2_500));

    expect(app.logs.lines.slice(length)).toEqual([]);
    expect(await server.connections()).toEqual([]);
    expect(await groupState(server)).toEqual({});
  });
});
