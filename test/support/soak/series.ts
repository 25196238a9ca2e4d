/**
 * A figure that is measured over and over in three thirds of some time, of which the first and the
 * last are calm.
 */
export class Series {
  readonly #thirds: number[][] = [];

  constructor(
    readonly name: string,
    readonly unit: string,
    /** What one of the unit is. */
    private readonly scale = 1,
  ) {}

  /** What is added from here on belongs to the next third. */
  nextThird(): void {
    this.#thirds.push([]);
  }

  add(value: number): void {
    this.#thirds.at(-1)!.push(value / this.scale);
  }

  /**
   * Pairs of an earlier and a later figure, which are alike if nothing grows: of the first and the
   * last third, and of the begin and the end of each. What grows with the life of a connection ends
   * in the second third, with that connection.
   */
  get pairs(): [earlier: number, later: number][] {
    const [first = [], , last = []] = this.#thirds;
    return [
      [median(first), median(last)],
      [median(part(first, 0)), median(part(first, 2))],
      [median(part(last, 0)), median(part(last, 2))],
    ];
  }

  /** By how much a later figure is above the earlier one, at most. */
  get growth(): number {
    return Math.max(...this.pairs.map(([earlier, later]) => later - earlier));
  }

  get row(): Record<string, string> {
    const all = this.#thirds.flat();
    const [first, second, last] = this.#thirds.map((third) =>
      print(median(third)),
    );
    return {
      unit: this.unit,
      '1st third': first!,
      '2nd third': second!,
      '3rd third': last!,
      growth: print(this.growth),
      min: print(Math.min(...all)),
      max: print(Math.max(...all)),
    };
  }

  /** Its course, time from left to right. */
  plot(width = 72, height = 6): string {
    const all = this.#thirds.flat();
    const columns = Math.min(width, all.length);
    const means = Array.from({ length: columns }, (_, i) =>
      median(part(all, i, columns)),
    );
    const most = Math.max(...means) || 1;
    const rows = Array.from({ length: height }, (_, i) => {
      const level = height - 1 - i;
      const bars = means.map((value) => bar((value / most) * height - level));
      const label = i === 0 ? print(most) : level === 0 ? '0' : '';
      return `${label.padStart(8)} |${bars.join('')}`;
    });
    return [`${this.name} (${this.unit})`, ...rows].join('\n');
  }
}

/** What fills a cell to a part, from 0 to 1. */
const bar = (part: number): string =>
  part >= 0.75 ? '#' : part >= 0.4 ? '=' : part >= 0.1 ? '.' : ' ';

/** One of so many parts of equal length, counted from 0. */
function part<T>(items: readonly T[], i: number, parts = 3): T[] {
  const at = (n: number): number => Math.floor((n * items.length) / parts);
  return items.slice(at(i), at(i + 1));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const print = (value: number): string =>
  Number.isInteger(value) ? `${value}` : value.toFixed(1);
