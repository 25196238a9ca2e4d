import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { RedisExpiryError } from '../../lib/index.js';
import {
  bedOf,
  clientsOf,
  eventually,
  killClient,
} from '../support/faults/bed.js';
import { BY_ITSELF, ChildApp } from '../support/faults/child-app.js';
import {
  ExpiryApp,
  type ExpiryAppOptions,
} from '../support/faults/expiry-app.js';
import { KeyLedger } from '../support/faults/key-ledger.js';
import { paced } from '../support/paced.js';
import { PATIENCE_MS } from '../support/patience.js';

/** Ms of connectTimeout where a start must not wait for it: a test that did would not end. */
const HOUR = 3_600_000;

interface Rejection {
  error: RedisExpiryError;
  ms: number;
}

/** Starts what cannot start. */
async function rejectionOf(options: ExpiryAppOptions): Promise<Rejection> {
  const startedAt = Date.now();
  const error: unknown = await ExpiryApp.start(options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(RedisExpiryError);
  return { error: error as RedisExpiryError, ms: Date.now() - startedAt };
}

describe.concurrent('Redis that cannot be reached at start', () => {
  it('because it is down: rejects after connectTimeout, saying where and why', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const { port } = server;
    await server.kill();

    const { error, ms } = await rejectionOf({
      connection: { host: '127.0.0.1', port, connectTimeout: 1_500 },
    });

    expect(error.code).toBe('CONNECT_FAILED');
    expect(error.message).toContain(`127.0.0.1:${port}`);
    expect(error.message).toContain('ECONNREFUSED');
    expect(error.message).toContain('1500 ms');
    expect(ms).toBeGreaterThanOrEqual(1_490);
    expect(ms).toBeLessThan(paced(4_000));
  });

  it('because the network is silent: rejects after connectTimeout, saying where', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    proxy.silence();

    const { error, ms } = await rejectionOf({
      connection: {
        host: '127.0.0.1',
        port: proxy.port,
        connectTimeout: 1_500,
      },
    });

    expect(error.code).toBe('CONNECT_FAILED');
    expect(error.message).toContain(`127.0.0.1:${proxy.port}`);
    expect(ms).toBeGreaterThanOrEqual(1_490);
    expect(ms).toBeLessThan(paced(4_000));
    // Nothing stays behind.
    await eventually(() => expect(proxy.connections).toBe(0));
  });

  it('because the server hangs: rejects after connectTimeout', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    server.pause();

    const { error, ms } = await rejectionOf({
      connection: {
        host: '127.0.0.1',
        port: server.port,
        connectTimeout: 1_500,
      },
    });

    expect(error.code).toBe('CONNECT_FAILED');
    expect(ms).toBeLessThan(paced(4_000));
    server.resume();
    const admin = bed.admin(server);
    await eventually(async () =>
      expect(await clientsOf(admin, 'fault-')).toEqual([]),
    );
  });

  it('is waited for where it comes within connectTimeout', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    await server.kill();
    const starting = bed.app({
      connection: {
        host: '127.0.0.1',
        port: server.port,
        connectTimeout: PATIENCE_MS,
      },
    });
    await server.restart();
    const app = await starting;

    const ledger = new KeyLedger(bed.admin(server));
    await ledger.expire(10);
    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(10);
    expect(app.node.gaps).toBe(0);
  });

  it('for a wrong password or none: rejects at once, with the words of Redis', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server({ args: ['--requirepass', 'right'] });
    const at = {
      ...{ host: '127.0.0.1', port: server.port },
      connectTimeout: HOUR,
    };

    const wrong = await rejectionOf({
      connection: { ...at, password: 'wrong' },
    });
    expect(wrong.error.code).toBe('CONNECT_FAILED');
    expect(wrong.error.message).toContain('WRONGPASS');
    expect(wrong.error.message).toContain(`127.0.0.1:${server.port}`);

    const user = await rejectionOf({
      connection: { ...at, username: 'nobody', password: 'wrong' },
    });
    expect(user.error.message).toContain('WRONGPASS');

    const none = await rejectionOf({ connection: at });
    expect(none.error.code).toBe('CONNECT_FAILED');
    expect(none.error.message).toContain('NOAUTH');

    const admin = bed.admin(server, { password: 'right' });
    await eventually(async () =>
      expect(await clientsOf(admin, 'fault-')).toEqual([]),
    );
  });

  it('for a database that does not exist: rejects at once, with the words of Redis', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();

    const { error } = await rejectionOf({
      connection: {
        ...{ host: '127.0.0.1', port: server.port, db: 99 },
        connectTimeout: HOUR,
      },
    });

    expect(error.code).toBe('CONNECT_FAILED');
    expect(error.message).toMatch(/DB index is out of range/);
    expect(error.message).toContain(`127.0.0.1:${server.port}`);
    const admin = bed.admin(server);
    await eventually(async () =>
      expect(await clientsOf(admin, 'fault-')).toEqual([]),
    );
  });

  it('with lazyConnect: starts, and handles what expires once Redis has come', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    await server.kill();
    const connectTimeout = paced(1_000);
    const startedAt = Date.now();
    const app = await bed.app({
      connection: {
        host: '127.0.0.1',
        port: server.port,
        lazyConnect: true,
        connectTimeout,
      },
    });
    expect(Date.now() - startedAt).toBeLessThan(connectTimeout);
    // Longer than connectTimeout, which bounds a try and not the waiting.
    await delay(2.5 * connectTimeout);
    expect(app.state).toBe('connecting');

    await server.restart();
    await app.subscriber.ready();
    expect(app.state).toBe('listening');
    const ledger = new KeyLedger(bed.admin(server));
    await ledger.expire(50);
    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ handled: 50 });
  });

  it('with lazyConnect and a wrong password: says so, and goes on when it is put right', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server({ args: ['--requirepass', 'right'] });
    const app = await bed.app({
      connection: {
        host: '127.0.0.1',
        port: server.port,
        password: 'other',
        lazyConnect: true,
      },
    });
    await eventually(() => expect(app.node.lastError).toMatch(/WRONGPASS/));
    expect(app.log).toContainEqual(
      expect.objectContaining({
        level: 'error',
        text: expect.stringContaining('WRONGPASS') as string,
      }),
    );

    const admin = bed.admin(server, { password: 'right' });
    await admin.config('SET', 'requirepass', 'other');
    await app.reaches('listening');
    const ledger = new KeyLedger(admin);
    await ledger.expire(50);
    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(50);
  });

  it('leaves nothing that keeps the process alive', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const silent = await bed.proxy(server);
    silent.silence();
    const guarded = await bed.server({ args: ['--requirepass', 'right'] });
    const down = await bed.server();
    await down.kill();

    const ports = [silent.port, guarded.port, down.port];
    const children = ports.map(
      (port) =>
        new ChildApp(bed, {
          module: {
            connection: { host: '127.0.0.1', port, connectTimeout: 1_000 },
          },
        }),
    );
    await Promise.all(
      children.map(async (child) => {
        const { code, name } = await child.says('rejected');
        expect({ code, name }).toEqual({
          code: 'CONNECT_FAILED',
          name: 'RedisExpiryError',
        });
        expect(await child.endsAfter('rejected')).toEqual(BY_ITSELF);
      }),
    );
  });

  it('because it is full: rejects, and one that runs goes on reconnecting', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    await admin.config('SET', 'maxclients', '1');

    const { error } = await rejectionOf({
      connection: {
        host: '127.0.0.1',
        port: server.port,
        connectTimeout: 1_500,
      },
    });
    expect(error.code).toBe('CONNECT_FAILED');
    expect(error.message).toContain(`127.0.0.1:${server.port}`);

    for (const { id } of await clientsOf(admin, app.name))
      await killClient(admin, id);
    await app.reaches('connecting');
    await delay(1_000);
    expect(app.state).toBe('connecting');
    await admin.config('SET', 'maxclients', '100');
    await app.recovers(0);
    const ledger = new KeyLedger(admin);
    await ledger.expire(20);
    expect(await ledger.settle(app)).toMatchObject({ handled: 20 });
  });
});
