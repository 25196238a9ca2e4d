import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Module } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { describe, expect, it } from 'vitest';
import {
  OnKeyExpired,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import { bedOf, clientsOf, eventually } from '../support/faults/bed.js';
import { BY_ITSELF, ChildApp } from '../support/faults/child-app.js';
import { KeyLedger } from '../support/faults/key-ledger.js';
import { logger } from '../support/faults/log-recorder.js';
import { paced } from '../support/paced.js';

/** Ms for each of the module's own timeouts where nothing may wait for it: a test that did would not end. */
const HOUR = 3_600_000;

/** An application that is made and not started yet. */
async function unstarted(
  options: RedisExpiryModuleOptions,
): Promise<TestingModule> {
  @Injectable()
  class Handlers {
    @OnKeyExpired('*')
    onExpired(): void {}
  }
  @Module({
    imports: [RedisExpiryModule.forRoot({ punctual: false, ...options })],
    providers: [Handlers],
  })
  class AppModule {}
  return Test.createTestingModule({ imports: [AppModule] })
    .setLogger(logger)
    .compile();
}

describe.concurrent('shutdown', () => {
  it('closes every connection, and runs no handler any more', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);
    await app.subscriber.psubscribe('__keyevent@0__:del', () => undefined);
    await ledger.expire(10);
    expect(await clientsOf(admin, app.name)).toHaveLength(2);

    const expiring = (async () => {
      for (let i = 0; i < 100; i++) await ledger.expire(5);
    })();
    const { subscriber } = app;
    await app.close();
    const handled = app.calls.size;
    await eventually(async () =>
      expect(await clientsOf(admin, app.name)).toEqual([]),
    );
    await expiring;

    expect(app.calls.size).toBe(handled);
    expect(subscriber.status().nodes[0]).toMatchObject({ state: 'closed' });
    await expect(
      subscriber.subscribe('a', () => undefined),
    ).rejects.toMatchObject({ code: 'CLOSED' });
    expect([...ledger.audit(app.calls, []).twice]).toEqual([]);
  });

  it('leaves no pattern that status() calls acknowledged', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const app = await bed.app({ connection: server.url });
    const { subscriber } = app;

    await app.close();

    expect(subscriber.status().nodes[0]).toMatchObject({ patterns: [] });
  });

  it('may be asked for twice, at once and later', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });

    await Promise.all([app.close(), app.close()]);
    await app.close();

    await eventually(async () =>
      expect(await clientsOf(admin, app.name)).toEqual([]),
    );
  });

  it('may come at any moment of the start', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    for (let ms = 0; ms < 60; ms += 3) {
      const name = `at-${ms}`;
      const app = await unstarted({ connection: server.url, name });
      const starting = app.init().then(
        () => 'started',
        (error: { code?: string }) => error.code,
      );
      await delay(ms);
      await app.close();
      expect(['started', 'CLOSED']).toContain(await starting);
    }
    await eventually(async () =>
      expect(await clientsOf(admin, 'at-')).toEqual([]),
    );
  });

  it('may come before the start', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const app = await unstarted({ connection: server.url });
    const subscriber = app.get(RedisExpirySubscriber, { strict: false });

    await app.close();

    await expect(subscriber.ready()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('may come while the start waits for a silent Redis', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    proxy.silence();
    const connection = {
      host: '127.0.0.1',
      port: proxy.port,
      connectTimeout: 2_000,
    };

    const app = await unstarted({ connection, shutdownTimeout: HOUR });
    const starting = app.init();
    const closing = app.close();
    await expect(starting).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    // Nest waits for the start to end, before it shuts down; it waits for nothing else.
    await closing;

    const lazy = await unstarted({
      connection: { ...connection, connectTimeout: HOUR, lazyConnect: true },
      shutdownTimeout: HOUR,
    });
    await lazy.init();
    const ready = lazy.get(RedisExpirySubscriber, { strict: false }).ready();
    await Promise.all([
      expect(ready).rejects.toMatchObject({ code: 'CLOSED' }),
      lazy.close(),
    ]);
    await eventually(() => expect(proxy.connections).toBe(0));
  });

  it('lets the process end by itself', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const child = new ChildApp(bed, {
      module: { connection: server.url },
      closeTwice: true,
    });
    await child.says('running');
    await new KeyLedger(admin).expire(5);
    await child.says('handled', 5);

    child.kill('SIGUSR2');
    expect(await child.endsAfter('closed')).toEqual(BY_ITSELF);
  });

  it('lets the process end by itself when Redis is down', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const child = new ChildApp(bed, {
      module: { connection: server.url, shutdownTimeout: HOUR },
    });
    await child.says('running');
    await server.kill();
    // Some tries to reconnect have failed by then.
    await delay(1_500);

    child.kill('SIGUSR2');
    expect(await child.endsAfter('closed')).toEqual(BY_ITSELF);
  });

  it('lets the process end by itself when Redis is silent', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const child = new ChildApp(bed, {
      module: { connection: proxy.url, shutdownTimeout: HOUR },
    });
    await child.says('running');
    proxy.silence();

    child.kill('SIGUSR2');
    expect(await child.endsAfter('closed')).toEqual(BY_ITSELF);
    await eventually(() => expect(proxy.connections).toBe(0));
  });

  it('waits no longer than shutdownTimeout for events that a silent Redis keeps from their handler', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const child = new ChildApp(bed, {
      module: {
        connection: proxy.url,
        shutdownTimeout: 1_500,
        name: 'child',
      },
    });
    await child.says('running');
    const clients = await clientsOf(admin, 'child');
    proxy.silenceOnly(
      clients.filter((c) => !c.subscribed).map(({ port }) => port),
    );
    // Heard, and never known whether they were written again.
    await new KeyLedger(admin).expire(5);
    await child.says('received', 5);

    const askedAt = Date.now();
    child.kill('SIGUSR2');
    const { at } = await child.says('closed');
    expect(await child.endsAfter('closed')).toEqual(BY_ITSELF);
    expect(at - askedAt).toBeGreaterThanOrEqual(1_400);
    // Less than the 10 s that it is by itself.
    expect(at - askedAt).toBeLessThan(paced(5_000));
    expect(child.all('started')).toEqual([]);
    expect(child.all('log').map(({ text }) => text)).toContainEqual(
      expect.stringMatching(/5 event\(s\) were in flight/),
    );
  });

  it('waits no longer than shutdownTimeout for a handler that hangs', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const child = new ChildApp(bed, {
      module: {
        connection: server.url,
        shutdownTimeout: 1_000,
        concurrency: 2,
      },
      workMs: paced(3_000),
    });
    await child.says('running');
    await new KeyLedger(admin).expire(5);
    await child.says('received', 5);
    await child.says('started', 2);

    const askedAt = Date.now();
    child.kill('SIGUSR2');
    const { at } = await child.says('closed');
    expect(at - askedAt).toBeGreaterThanOrEqual(900);
    expect(child.all('handled')).toEqual([]);
    expect(child.all('log').map(({ text }) => text)).toContainEqual(
      expect.stringMatching(/2 event\(s\) were in flight.*3 waiting/),
    );
    // Those two end by themselves; nothing is started after them.
    expect(await child.ends()).toEqual({ code: 0, signal: null });
    expect(child.all('handled')).toHaveLength(2);
    expect(child.all('started')).toHaveLength(2);
  });

  it('by SIGTERM drains what is running and what waits', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const child = new ChildApp(bed, {
      module: { connection: server.url, concurrency: 2 },
      workMs: 400,
      shutdownHooks: true,
    });
    await child.says('running');
    await new KeyLedger(admin).expire(6);
    await child.says('received', 6);

    child.kill('SIGTERM');
    // What expires from here on is not this instance's any more.
    expect(await child.ends()).toEqual({ code: null, signal: 'SIGTERM' });

    const handled = child.all('handled').map(({ key }) => key);
    expect(handled).toHaveLength(6);
    expect(new Set(handled).size).toBe(6);
    expect(child.all('started')).toHaveLength(6);
    const said = child.events.map(({ event }) => event);
    expect(said.lastIndexOf('handled')).toBeLessThan(said.indexOf('shutdown'));
  });
});
