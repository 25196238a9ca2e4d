import type { RedisExpiryKeys } from '../../../lib/index.js';
import type { Handling } from '../group/history.js';

/** What was done to one key that was armed once. */
interface Life {
  readonly key: string;
  /** Its deadline is no sooner than this; epoch ms. */
  from: number;
  isCancelled: boolean;
}

/** What is wrong; all are empty when nothing is. */
export interface Wrongs {
  /** Armed, not cancelled, and no handler got to its end. */
  readonly lost: string[];
  /** Handled though they were cancelled, or before their deadline, or never armed. */
  readonly false: string[];
  /** Handled by more than one id. */
  readonly twice: string[];
}

/** Arms keys, each once, and checks what became of them. Knows nothing of the library but what its calls resolve with. */
export class ArmedLedger {
  readonly #lives = new Map<string, Life>();
  readonly counts = { armed: 0, renewed: 0, cancelled: 0, tooLate: 0 };

  constructor(private readonly keys: RedisExpiryKeys) {}

  async arm(key: string, ttl: number): Promise<void> {
    const { deadline } = await this.keys.arm(key, { ttl, value: key });
    this.#armed(key, deadline);
  }

  async armMany(entries: readonly (readonly [string, number])[]) {
    const armed = await this.keys.armMany(
      entries.map(([key, ttl]) => ({ key, ttl, value: key })),
    );
    armed.forEach(({ deadline }, i) => this.#armed(entries[i]![0], deadline));
  }

  async renew(key: string, ttl: number): Promise<void> {
    const from = Date.now() + ttl;
    const lived = await this.keys.renew(key, { ttl });
    if (lived) this.#lives.get(key)!.from = from;
    this.counts[lived ? 'renewed' : 'tooLate']++;
  }

  async cancel(key: string): Promise<void> {
    const lived = await this.keys.cancel(key);
    this.#lives.get(key)!.isCancelled = lived;
    this.counts[lived ? 'cancelled' : 'tooLate']++;
  }

  /** How many are to be handled. */
  get expected(): number {
    return [...this.#lives.values()].filter((one) => !one.isCancelled).length;
  }

  /** When each of them has run out; epoch ms. */
  get over(): number {
    return [...this.#lives.values()].reduce((a, b) => Math.max(a, b.from), 0);
  }

  check(handlings: readonly Handling[]): Wrongs {
    const runs = new Map<string, Handling[]>();
    for (const run of handlings)
      runs.set(run.key, [...(runs.get(run.key) ?? []), run]);
    const wrongs: Wrongs = { lost: [], false: [], twice: [] };
    for (const [key, life] of this.#lives) {
      const own = runs.get(key) ?? [];
      if (!life.isCancelled && !own.some(({ ended }) => ended))
        wrongs.lost.push(key);
      if (life.isCancelled && own.length > 0)
        wrongs.false.push(`${key} was cancelled`);
      const early = own.find(({ at }) => at < life.from);
      if (early) wrongs.false.push(`${key}: ${life.from - early.at} ms early`);
      const ids = new Set(own.map(({ id }) => id));
      if (ids.size > 1) wrongs.twice.push([...ids].join(' and '));
    }
    for (const key of runs.keys())
      if (!this.#lives.has(key)) wrongs.false.push(`${key} was never armed`);
    return wrongs;
  }

  #armed(key: string, deadline: Date): void {
    this.#lives.set(key, { key, from: deadline.getTime(), isCancelled: false });
    this.counts.armed++;
  }
}
