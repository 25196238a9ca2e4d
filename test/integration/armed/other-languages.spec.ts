import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { pageOf, root } from '../../support/docs/pages.js';
import { eventually } from '../../support/eventually.js';
import { handler } from '../../support/group/app.js';
import { useServer } from '../../support/servers.js';

const GROUP = 'reservations';
const INDEX = `rx:{${GROUP}}:index`;

type Connection = NonNullable<
  Parameters<typeof RedisExpiryModule.forRoot>[0]
>['connection'];

async function instance(connection: Connection) {
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [RedisExpiryModule.forRoot({ connection, group: GROUP })],
    providers: [handler('seat:*', events.add)],
  });
  return { ...app, events };
}

/** The program in Python of the documentation. */
function program(): string {
  const { text } = pageOf('21');
  return /<!-- run: python -->\s*```python\n([^]*?)^```$/m.exec(text)![1]!;
}

/** Runs it with the package `redis` where Python has that, else with as much of it as it needs. */
async function python(url: string): Promise<string> {
  const own = join(root, 'test/support/python');
  const path = `import sys; sys.path.append(${JSON.stringify(own)})\n`;
  const { stdout } = await promisify(execFile)(
    'python3',
    ['-c', path + program()],
    { env: { ...process.env, REDIS_URL: url } },
  );
  return stdout.trim();
}

describe('keys that a program in Python arms', () => {
  const server = useServer();

  it('are handed over, though they were created and ran out before any instance ran, unless they were cancelled', async () => {
    const said = await python(server.url);
    await eventually(async () =>
      expect(await server.redis.exists('seat:1', 'seat:2')).toBe(0),
    );
    expect(said).toBe('True True False');

    const { events } = await instance(server.url);

    const received = await events.next(2);
    expect(received.map(({ key, source }) => `${key} ${source}`).toSorted())
      // What was armed is told, and not to what it was renewed: that nobody saw.
      .toEqual(['seat:1 recovery', 'seat:2 recovery']);
    expect(await server.redis.zcard(INDEX)).toBe(0);
    expect(events.rest).toEqual([]);
  });

  it('are handed over on time while an instance runs', async () => {
    const { events } = await instance(server.url);

    await python(server.url);

    const received = await events.next(2);
    expect(received.map(({ key, source }) => `${key} ${source}`)).toEqual([
      'seat:1 notification',
      'seat:2 notification',
    ]);
  });
});

describe('keys that are armed by plain commands on a Cluster', () => {
  const cluster = useCluster(3);

  it('are handed over, though they were created and ran out while no instance ran', async () => {
    const redis = await cluster.connect();
    const before = await instance({ nodes: cluster.nodes });
    await before.close();
    const keys = Array.from({ length: 60 }, (_, i) => `seat:${i}`);
    for (const key of keys) {
      const deadline = Date.now() + 30;
      await redis.call('ZADD', INDEX, 'LT', deadline, key);
      await redis.set(key, 'ada', 'PXAT', deadline);
      await redis.call('ZADD', INDEX, 'LT', deadline, key);
    }
    await eventually(async () => {
      for (const key of keys) expect(await redis.exists(key)).toBe(0);
    });

    const { events } = await instance({ nodes: cluster.nodes });

    const received = await events.next(keys.length);
    expect(received.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
    expect(events.rest).toEqual([]);
  });
});
