import type { ExpiryHandler } from '../dispatch/expiry.js';
import { GraceWaits } from '../dispatch/grace-waits.js';

/**
 * Where expiries wait for the grace of their handlers in the test kit: those of broadcast, which wait in the process,
 * and those of each group, which wait in Redis. `MemoryEngine` has one.
 */
export class MemoryGraces {
  readonly #waits = new Map<string | undefined, GraceWaits>();

  /** @param parts what each place is made of */
  constructor(
    private readonly parts: ConstructorParameters<typeof GraceWaits>,
  ) {}

  /** The place of a group; undefined: of broadcast. */
  of(group: string | undefined): GraceWaits {
    let waits = this.#waits.get(group);
    if (!waits) {
      waits = new GraceWaits(...this.parts);
      this.#waits.set(group, waits);
    }
    return waits;
  }

  /** A key was created. */
  returned(redisKey: Buffer): void {
    for (const waits of this.#waits.values()) waits.returned(redisKey);
  }

  /** Forgets a handler. */
  remove(handler: ExpiryHandler): void {
    for (const waits of this.#waits.values()) waits.remove(handler);
  }
}
