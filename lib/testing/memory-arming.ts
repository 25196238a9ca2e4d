import type { KeyAccess } from '../engine/expiry-engine.js';
import type { Armed, KeyToArm } from '../group/armed-keys.js';
import { readValue } from './memory-value.js';
import type { MemoryKeys } from './memory-keys.js';
import type { VirtualTime } from './virtual-time.js';

/**
 * Writes keys of the test kit, as `ArmedKeys` writes those of Redis. Nothing can be lost there: each group knows each
 * key. `MemoryEngine` has one.
 */
export class MemoryArming implements KeyAccess {
  constructor(
    private readonly time: VirtualTime,
    private readonly keys: MemoryKeys,
  ) {}

  arm(armings: readonly KeyToArm[]): Promise<Armed[]> {
    return Promise.resolve(
      armings.map(({ key, ttl, value }) => {
        const created = !this.keys.has(key);
        this.keys.set(key, ttl, readValue({ value }));
        return { deadline: this.time.now + ttl, created };
      }),
    );
  }

  renew(
    key: Buffer,
    ttl: number,
    value: string | Buffer | undefined,
  ): Promise<boolean> {
    const present = this.keys.valueOf(key);
    if (!present) return Promise.resolve(false);
    const next = value === undefined ? present : readValue({ value });
    this.keys.set(key, ttl, next);
    return Promise.resolve(true);
  }

  cancel(key: Buffer): Promise<boolean> {
    return Promise.resolve(this.keys.delete(key));
  }

  enrol(keys: readonly Buffer[]): Promise<number> {
    return Promise.resolve(
      keys.filter((key) => typeof this.keys.deadlineOf(key) === 'number')
        .length,
    );
  }
}
