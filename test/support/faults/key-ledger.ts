import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { vi } from 'vitest';
import { PATIENCE_MS } from '../patience.js';
import type { ExpiryApp, ReportedGap } from './expiry-app.js';

/** Keys that Redis announced as expired between two moments; epoch ms. */
interface Entry {
  readonly keys: readonly string[];
  readonly from: number;
  readonly to: number;
}

/** What became of the keys. */
export interface Audit {
  readonly expired: number;
  /** Handled, at least once. */
  readonly handled: number;
  /** Not handled, but expired in a time that the module reported. */
  readonly lostInGap: number;
  /** Not handled, and nothing was reported: must be empty. */
  readonly lostUnreported: readonly string[];
  /** Handled more than once: must be empty. */
  readonly twice: readonly string[];
}

let ledgers = 0;

/**
 * Lets keys expire and keeps when each was announced, so that afterwards each can be accounted for:
 * handled once, or lost in a time that the module reported.
 */
export class KeyLedger {
  readonly prefix = `ledger${++ledgers}:`;
  readonly #entries: Entry[] = [];
  #made = 0;

  constructor(private readonly redis: Redis) {}

  get expired(): number {
    return this.#entries.reduce((sum, { keys }) => sum + keys.length, 0);
  }

  /** Names that no call gave before. */
  newKeys(count: number): string[] {
    return Array.from({ length: count }, () => `${this.prefix}${this.#made++}`);
  }

  /** Notes that keys were announced between two moments. */
  note(keys: readonly string[], from: number, to = Date.now()): void {
    this.#entries.push({ keys, from, to });
  }

  /** Makes keys expire now: resolves when Redis has announced every one of them. */
  async expire(count: number): Promise<void> {
    const keys = this.newKeys(count);
    const from = Date.now();
    const pipeline = this.redis.pipeline();
    for (const key of keys) pipeline.set(key, '1', 'PX', 1);
    await pipeline.exec();
    for (let alive = 1; alive > 0; alive = await this.redis.exists(...keys))
      await delay(2);
    this.note(keys, from);
  }

  audit(calls: ReadonlyMap<string, number>, gaps: ReportedGap[]): Audit {
    let handled = 0;
    let lostInGap = 0;
    const lostUnreported: string[] = [];
    const twice: string[] = [];
    for (const { keys, from, to } of this.#entries) {
      const inGap = gaps.some((gap) => gap.from <= to && from <= gap.to);
      for (const key of keys) {
        const times = calls.get(key) ?? 0;
        if (times > 0) handled++;
        else if (inGap) lostInGap++;
        else lostUnreported.push(key);
        if (times > 1) twice.push(key);
      }
    }
    return { expired: this.expired, handled, lostInGap, lostUnreported, twice };
  }

  /**
   * Waits until all that was announced has got through, and tells what became of the keys. The
   * module must be listening: what tells is a key that expires last and is handled.
   */
  async settle(app: ExpiryApp, timeout = PATIENCE_MS): Promise<Audit> {
    const fence = `${this.prefix}fence${this.#made++}`;
    await this.redis.set(fence, '1', 'PX', 1);
    return vi.waitFor(
      async () => {
        await this.redis.exists(fence);
        assert.ok(app.calls.has(fence), 'the last key was not handled');
        const { queued, running } = app.status;
        assert.deepEqual({ queued, running }, { queued: 0, running: 0 });
        const audit = this.audit(app.calls, app.gaps);
        assert.deepEqual(audit, { ...audit, lostUnreported: [], twice: [] });
        return audit;
      },
      { timeout, interval: 20 },
    );
  }
}
