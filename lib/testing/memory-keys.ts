import type { AliveCheck } from '../dispatch/dispatcher.js';
import type { ReadValue } from '../dispatch/event-value.js';
import type { VirtualTime } from './virtual-time.js';

/** A key that lives. */
interface Life {
  readonly key: Buffer;
  /** Epoch ms; undefined: it lives until it is deleted. */
  readonly deadline: number | undefined;
  /** Take back its end, and its warnings. */
  readonly cancels: (() => void)[];
  readonly value: ReadValue;
}

/** Who is told of what the clock does to keys. */
export interface KeyWitness {
  /** A key was written that was not there. */
  created(key: Buffer): void;
  /** A key is gone, as its time to live ran out at the deadline, in epoch ms, and what it held. */
  expired(key: Buffer, deadline: number, value: ReadValue): void;
  /** A key lives, and its time left has fallen to `before` ms. */
  expiring(
    key: Buffer,
    deadline: number,
    before: number,
    value: ReadValue,
  ): void;
}

/**
 * The keys of the test kit: which live, and until when, by the kit's own clock. As in Redis, a key lives
 * through the millisecond of its deadline, and is gone in the next one.
 */
export class MemoryKeys {
  /** By their names, without a `keyPrefix`, in latin1. */
  readonly #lives = new Map<string, Life>();
  /** How many ms before a deadline somebody is to be told. */
  readonly #befores = new Set<number>();

  constructor(
    private readonly time: VirtualTime,
    private readonly witness: KeyWitness,
  ) {}

  has(key: Buffer): boolean {
    return this.#lives.has(key.toString('latin1'));
  }

  /** What a key holds; undefined where there is none. */
  valueOf(key: Buffer): ReadValue | undefined {
    return this.#lives.get(key.toString('latin1'))?.value;
  }

  /** When a key runs out, in epoch ms. */
  deadlineOf(key: Buffer): number | 'never' | 'gone' {
    const life = this.#lives.get(key.toString('latin1'));
    return life ? (life.deadline ?? 'never') : 'gone';
  }

  /** Tells of keys so many ms before their deadlines, from now on: also of those that live and have more time left. */
  tellBefore(before: number): void {
    if (this.#befores.has(before)) return;
    this.#befores.add(before);
    for (const life of this.#lives.values()) this.#warn(life, before);
  }

  /** Writes a key; whatever time to live it had is replaced. `ttl` in ms; undefined: it lives until it is deleted. */
  set(key: Buffer, ttl: number | undefined, value: ReadValue): void {
    const { now } = this.time;
    const left = (this.#lives.get(key.toString('latin1'))?.deadline ?? 0) - now;
    const isNew = !this.delete(key);
    const name = key.toString('latin1');
    const deadline = ttl === undefined ? undefined : now + ttl;
    const life: Life = { key, deadline, value, cancels: [] };
    this.#lives.set(name, life);
    if (isNew) this.witness.created(key);
    if (deadline === undefined) return;
    life.cancels.push(
      this.time.at(deadline + 1, () => {
        this.#lives.delete(name);
        this.witness.expired(key, deadline, value);
      }),
    );
    for (const before of this.#befores) {
      this.#warn(life, before);
      // Its time was shortened.
      if (left > before && ttl! <= before) this.#warnAt(now, life, before);
    }
  }

  /** Removes a key, which is no expiry. Whether there was such a key. */
  delete(key: Buffer): boolean {
    const name = key.toString('latin1');
    for (const cancel of this.#lives.get(name)?.cancels ?? []) cancel();
    return this.#lives.delete(name);
  }

  /** Has it told of once its time left falls to `before`, if it has more. */
  #warn(life: Life, before: number): void {
    if (life.deadline === undefined) return;
    const at = life.deadline - before;
    if (at > this.time.now) this.#warnAt(at, life, before);
  }

  #warnAt(at: number, life: Life, before: number): void {
    const { key, cancels, value } = life;
    const deadline = life.deadline!;
    const read = { ...value, age: deadline - at };
    cancels.push(
      this.time.at(at, () =>
        this.witness.expiring(key, deadline, before, read),
      ),
    );
  }
}

/** Tells the dispatcher how keys are, whose names have a prefix of so many bytes there. */
export function checkOf(keys: MemoryKeys, prefixLength: number): AliveCheck {
  const nameOf = (redisKey: Buffer): Buffer => redisKey.subarray(prefixLength);
  return {
    alive: (some) =>
      Promise.resolve(
        new Set(some.flatMap((key, i) => (keys.has(nameOf(key)) ? [i] : []))),
      ),
    deadlines: (some) =>
      Promise.resolve(some.map((key) => keys.deadlineOf(nameOf(key)))),
    placeOf: () => '',
  };
}
