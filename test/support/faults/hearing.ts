import assert from 'node:assert/strict';
import { expect, vi } from 'vitest';
import type {
  KeyExpiredEvent,
  NodeStatus,
  RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { type History, expectNothing } from '../group/history.js';
import { PATIENCE_MS } from '../patience.js';
import type { Promotion } from '../promotion.js';
import type { TestServer } from '../servers.js';
import type { FaultBed } from './bed.js';
import type { ExpiryApp } from './expiry-app.js';
import { paced } from '../paced.js';

/** Keys that may have been missed: they were due, or announced, in a gap. */
export type MayMiss = (key: string, deadline: number) => boolean;

/** A broadcast application on several servers, and the history of what it heard. */
export class Hearing {
  private constructor(
    readonly app: ExpiryApp,
    readonly history: History,
  ) {}

  static async start(
    bed: FaultBed,
    connection: RedisExpiryModuleOptions['connection'],
    history: History,
  ): Promise<Hearing> {
    const app = await bed.app({
      ...({ connection, punctual: true } as RedisExpiryModuleOptions),
      work: (event) => history.handled(handlingOf(event)),
    });
    await app.subscriber.ready();
    return new Hearing(app, history);
  }

  get nodes(): readonly NodeStatus[] {
    return this.app.status.nodes;
  }

  get addresses(): string[] {
    return this.nodes.map(({ address }) => address).toSorted();
  }

  node(address: string): NodeStatus | undefined {
    return this.nodes.find((node) => node.address === address);
  }

  /** Resolves when it listens to exactly these servers. */
  async listensTo(servers: readonly TestServer[], timeout = PATIENCE_MS) {
    const wanted = servers.map(({ address }) => `${address} listening`);
    const present = () => this.nodes.map((n) => `${n.address} ${n.state}`);
    await vi.waitFor(
      () =>
        assert.deepEqual(
          new Set(present()),
          new Set(wanted),
          `listens to ${present().join()}`,
        ),
      { timeout, interval: 5 },
    );
  }

  /** Resolves when the gap at a server is closed, with its ends in epoch ms. */
  async resumed(address: string, timeout = PATIENCE_MS) {
    return vi.waitFor(
      () => {
        const { state, lastGap } = this.node(address) ?? {};
        assert.equal(state, 'listening', JSON.stringify(this.nodes));
        assert.ok(lastGap?.to, JSON.stringify(this.nodes));
        assert.equal(lastGap.node, address);
        return { from: lastGap.from.getTime(), to: lastGap.to.getTime() };
      },
      { timeout, interval: 5 },
    );
  }

  /** Prints how long after a promotion it listened again, and asserts the order of magnitude. */
  expectSoonAfter({ at, notBefore }: Promotion, to: number, what: string) {
    console.log(
      `broadcast, ${what}: listening ${to - at} to ${to - notBefore} ms after the promotion`,
    );
    expect(to - at).toBeLessThan(paced(4_000));
  }

  /** Resolves when all was heard that must have been, and nothing else; with how many were missed that may be. */
  async accounts(mayMiss: MayMiss = () => false) {
    const { history } = this;
    const unexcused = () => {
      const { missing } = history.check();
      return missing.filter((name) => {
        const [key, number] = name.split('#') as [string, string];
        return !mayMiss(key, history.deadlineOf(key, Number(number)));
      });
    };
    await vi.waitFor(
      () => {
        // A false event of a key that was deleted would come at its deadline.
        assert.ok(Date.now() > history.lastDeadline + 300);
        const { queued, running } = this.app.status;
        assert.deepEqual({ queued, running }, { queued: 0, running: 0 });
        const lost = unexcused();
        assert.deepEqual(lost.slice(0, 5), [], `${lost.length} are missing`);
      },
      { timeout: PATIENCE_MS, interval: 20 },
    );
    const { missing, ...findings } = history.check();
    expectNothing({ ...findings, missing: unexcused() });
    return missing.length;
  }
}

const handlingOf = (event: KeyExpiredEvent) => ({
  ...{ key: event.key, id: event.key, attempt: event.attempt },
  ...{ source: event.source, process: 'broadcast', at: Date.now() },
  ...(event.deadline && { deadline: event.deadline.getTime() }),
  ended: true,
});
