/** Random numbers that are the same in every run (mulberry32). */
export class Random {
  constructor(private seed: number) {}

  /** A whole number from 0 up to, and without, the limit. */
  below(limit: number): number {
    this.seed = (this.seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.seed ^ (this.seed >>> 15), 1 | this.seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** From `min` to `max` items, each picked anew. */
  some<T>(items: readonly T[], min: number, max: number): T[] {
    const length = min + this.below(max - min + 1);
    return Array.from({ length }, () => this.pick(items));
  }

  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
    }
    return shuffled;
  }
}
