import { describe, expect, it } from 'vitest';
import {
  bedOf,
  clientsOf,
  eventually,
  immortalKeys,
  killClient,
} from '../support/faults/bed.js';
import { KeyLedger } from '../support/faults/key-ledger.js';
import { heapUsed } from '../support/heap.js';

const listenersOfProcess = (): number =>
  process
    .eventNames()
    .reduce((sum, name) => sum + process.listenerCount(name), 0);

/** Timers and sockets that keep the process alive, by kind. */
const resources = (kind: string): number =>
  process.getActiveResourcesInfo().filter((name) => name === kind).length;

describe('200 reconnects', () => {
  it('leave no connection, listener, timer or memory behind', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({
      connection: {
        host: '127.0.0.1',
        port: server.port,
        retryStrategy: () => 5,
      },
    });
    const ledger = new KeyLedger(admin);
    const warnings: string[] = [];
    const warned = (warning: Error): number => warnings.push(warning.message);
    process.on('warning', warned);

    const reconnect = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) {
        const { gaps } = app.node;
        // In turn the listener's alone, and all.
        for (const { id, subscribed } of await clientsOf(admin, app.name))
          if (subscribed || i % 2 === 1) await killClient(admin, id);
        await app.recovers(gaps);
        await ledger.expire(1);
      }
      await ledger.settle(app);
      app.forgetLog();
    };

    const before = {
      listeners: listenersOfProcess(),
      sockets: resources('TCPSocketWrap'),
      timers: resources('Timeout'),
    };
    await reconnect(20);
    const heapBefore = heapUsed();
    for (let round = 0; round < 10; round++) {
      await reconnect(20);
      expect(await clientsOf(admin, app.name)).toHaveLength(2);
    }

    expect(app.node.gaps).toBeGreaterThanOrEqual(220);
    await eventually(() => {
      expect(listenersOfProcess()).toBe(before.listeners);
      expect(resources('TCPSocketWrap')).toBe(before.sockets);
      // `waitFor` has timers of its own.
      expect(resources('Timeout')).toBeLessThanOrEqual(before.timers + 3);
    });
    expect(heapUsed() - heapBefore).toBeLessThan(4 * 1024 * 1024);
    expect(await immortalKeys(admin)).toEqual([]);
    // Such as MaxListenersExceededWarning.
    expect(warnings).toEqual([]);
    process.off('warning', warned);
    const audit = await ledger.settle(app);
    expect(audit.expired).toBe(220);
    expect(audit.handled + audit.lostInGap).toBe(220);
  }, 180_000);
});
