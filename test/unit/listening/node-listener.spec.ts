import { expect, it, onTestFinished } from 'vitest';
import { ownClientOptions } from '../../../lib/connection/client-options.js';
import { NodeListener } from '../../../lib/listening/node-listener.js';
import type { DeadlineKeeper } from '../../../lib/listening/deadline-keeper.js';
import { SubscriptionRegistry } from '../../../lib/listening/subscription-registry.js';
import { eventually } from '../../support/eventually.js';
import { commandsOn, noLog } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';

const server = useServer();

it('NodeListener tells its observer where another server answers than before, and not of a new connection to the same', async () => {
  const told: string[] = [];
  const observer: DeadlineKeeper = {
    listening: () => void told.push('listening'),
    lost: () => undefined,
    replaced: () => void told.push('replaced'),
    silent: () => void told.push('silent'),
    hint: () => undefined,
    changed: () => undefined,
    expired: () => undefined,
    status: { tracked: 0 },
    ready: () => Promise.resolve(),
    close: () => undefined,
  };
  const registry = new SubscriptionRegistry({
    ...{ database: 0, keyPrefix: '', namespace: 'rx' },
    ...{ hints: [], wantedFlags: '' },
  });
  registry.add({ pattern: 'k*', onExpiry: () => undefined });
  const commands = commandsOn(server);
  const listener = new NodeListener(
    {
      address: server.address,
      commands,
      inCluster: false,
      noticedAfter: 3_000,
      openListener: () =>
        server.client({ ...ownClientOptions('test'), retryStrategy: null }),
      keyWith: (prefix) => prefix,
    },
    registry,
    {
      notifications: 'ensure',
      database: 0,
      ownPrefix: 'rx:',
      connectTimeout: 5_000,
      retryDelay: () => 20,
    },
    noLog,
    observer,
  );
  onTestFinished(() => {
    listener.close();
    commands.close();
  });
  /** What it tells from now on until it listens. */
  const tells = async () => {
    await eventually(() => expect(told).toContain('listening'));
    return told.splice(0);
  };

  listener.start();
  expect(await tells()).toEqual(['listening']);
  await server.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  expect(await tells()).toEqual(['listening']);
  await server.kill();
  await server.restart();
  expect(await tells()).toEqual(['replaced', 'listening']);
  await server.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  expect(await tells()).toEqual(['listening']);
});
