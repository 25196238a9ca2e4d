import type { VirtualTime } from './virtual-time.js';

/** A key that lives. */
interface Life {
  /** Takes back its end, where it has one. */
  readonly cancel: (() => void) | undefined;
}

/**
 * The keys of the test kit: which live, and until when, by the kit's own clock. As in Redis, a key lives
 * through the millisecond of its deadline, and is gone in the next one.
 */
export class MemoryKeys {
  /** By their names, without a `keyPrefix`, in latin1. */
  readonly #lives = new Map<string, Life>();

  /** @param onExpired a key is gone, as its time to live ran out at the deadline, in epoch ms */
  constructor(
    private readonly time: VirtualTime,
    private readonly onExpired: (key: Buffer, deadline: number) => void,
  ) {}

  has(key: Buffer): boolean {
    return this.#lives.has(key.toString('latin1'));
  }

  /** Writes a key; whatever time to live it had is replaced. `ttl` in ms; undefined: it lives until it is deleted. */
  set(key: Buffer, ttl: number | undefined): void {
    this.delete(key);
    const name = key.toString('latin1');
    const deadline = ttl === undefined ? undefined : this.time.now + ttl;
    const cancel =
      deadline === undefined
        ? undefined
        : this.time.at(deadline + 1, () => {
            this.#lives.delete(name);
            this.onExpired(key, deadline);
          });
    this.#lives.set(name, { cancel });
  }

  /** Removes a key, which is no expiry. Whether there was such a key. */
  delete(key: Buffer): boolean {
    const name = key.toString('latin1');
    this.#lives.get(name)?.cancel?.();
    return this.#lives.delete(name);
  }
}
