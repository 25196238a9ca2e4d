import { expect } from 'vitest';

/** One run of a handler, as the process that ran it tells. */
export interface Handling {
  readonly key: string;
  readonly id: string;
  readonly attempt: number;
  readonly source: string;
  /** Epoch ms. */
  readonly deadline?: number;
  readonly lateness?: number;
  readonly process: number | string;
  /** Epoch ms at which the handler began. */
  readonly at: number;
  /** Whether the handler got to its end. */
  readonly ended: boolean;
}

/** A key from its creation to its expiry or its end before that. */
interface Life {
  readonly key: string;
  readonly number: number;
  /** Every deadline that it ever had, the one that holds last. */
  readonly deadlines: number[];
  /** How it ended without expiring, or that its key was back within the grace; undefined: it expires. */
  end?: 'deleted' | 'persisted' | 'lost' | 'back in time' | 'back late';
}

export interface CheckOptions {
  /** Ms that the first run of a handler may begin after the deadline. */
  readonly lateness?: number;
  /** Ms after the deadline before which no handler may run; with it, keys that were back by then are to be told as such. */
  readonly grace?: number;
  /** Whether every run counts, or only those that got to their end, for what is not missing. */
  readonly must?: 'begin' | 'end';
  /** The group's own keys were rolled back, or gaps follow each other: what was handled may be handled as new, by the same id. */
  readonly rolledBack?: boolean;
}

/** What is wrong; all are empty when nothing is. */
export interface Findings {
  /** Lives that expired and were not handled. */
  readonly missing: string[];
  /** Runs for lives that did not expire, or before they did. */
  readonly false: string[];
  /** Runs beyond the first one that are not told apart as redeliveries of the same event. */
  readonly twice: string[];
  /** Lives whose first run came too late. */
  readonly late: string[];
}

export const NOTHING: Findings = {
  missing: [],
  false: [],
  twice: [],
  late: [],
};

/** Fails with the first few findings of each kind, and how many there are. */
export function expectNothing(findings: Findings): void {
  const brief = Object.entries(findings as unknown as Record<string, string[]>)
    .filter(([, all]) => all.length > 0)
    .map(([name, all]) => `${all.length} ${name}: ${all.slice(0, 5).join()}`);
  if (brief.length > 0) expect.fail(brief.join('; '));
}

/**
 * The history of some keys and of every handler that ran for them, and what is wrong with it. Knows
 * nothing of the library: only what was done to the keys, and what handlers were told.
 */
export class History {
  readonly #lives = new Map<string, Life[]>();
  readonly #handlings: Handling[] = [];

  /** `tolerance`: by how many ms a deadline that was told may differ from that of the key: not at all where one clock tells both. */
  constructor(private readonly tolerance = 0) {}

  /** A key was written with a deadline. */
  set(key: string, deadline: number): void {
    const lives = this.#lives.get(key) ?? [];
    const last = lives.at(-1);
    lives.push({ key, number: (last?.number ?? 0) + 1, deadlines: [deadline] });
    this.#lives.set(key, lives);
  }

  /** A key that lives was given another deadline. */
  renewed(key: string, deadline: number): void {
    this.#last(key).deadlines.push(deadline);
  }

  /** It was deleted, renamed, evicted or flushed before its deadline; or lost its deadline. */
  ended(key: string, end: NonNullable<Life['end']> = 'deleted'): void {
    this.#last(key).end = end;
  }

  /**
   * A key that ran out is there again since a moment ago, with another deadline or for good. In time for its handlers'
   * grace it was not away: it is as if it had been renewed, or had lost its deadline.
   */
  returned(key: string, grace: number, deadline?: number): void {
    const life = this.#last(key);
    const isInTime = Date.now() <= life.deadlines.at(-1)! + grace;
    if (isInTime && deadline !== undefined) this.renewed(key, deadline);
    else life.end = isInTime ? 'back in time' : 'back late';
    if (!isInTime && deadline !== undefined) this.set(key, deadline);
  }

  /** Keys whose return came so late, as this process was held up, that their handlers may have run or not. */
  get late(): number {
    return this.#all().filter(({ end }) => end === 'back late').length;
  }

  handled(handling: Handling): void {
    this.#handlings.push(handling);
  }

  get handlings(): readonly Handling[] {
    return this.#handlings;
  }

  /** The last deadline of any key, also of those that ended before it; epoch ms. */
  get lastDeadline(): number {
    return this.#all().reduce((a, l) => Math.max(a, l.deadlines.at(-1)!), 0);
  }

  /** When a life runs out, or would have; epoch ms. Counted from 1. */
  deadlineOf(key: string, life: number): number {
    return this.#lives.get(key)![life - 1]!.deadlines.at(-1)!;
  }

  /** Lives that ended by their deadline; epoch ms. */
  get expired(): { key: string; deadline: number }[] {
    return this.#all()
      .filter(({ end }) => !end)
      .map(({ key, deadlines }) => ({ key, deadline: deadlines.at(-1)! }));
  }

  /** Lives whose expiry is to be handled. */
  get expected(): number {
    return this.#all().filter(({ end }) => !end).length;
  }

  /** Lives with at least one run, and runs beyond the first of each. */
  get counts(): { handled: number; redelivered: number } {
    const runs = this.#runs(this.#handlings);
    const handled = [...runs.byLife.values()].filter((r) => r.length > 0);
    const all = handled.reduce((sum, r) => sum + r.length, 0);
    return { handled: handled.length, redelivered: all - handled.length };
  }

  /** How many runs each process had. */
  get byProcess(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { process } of this.#handlings)
      counts.set(`${process}`, (counts.get(`${process}`) ?? 0) + 1);
    return counts;
  }

  check(options: CheckOptions = {}): Findings {
    const { byLife, stray } = this.#runs(this.#handlings);
    const findings: Findings = {
      missing: [],
      false: stray.map((run) => `${nameOf(run)}: no such life`),
      twice: [],
      late: [],
    };
    for (const life of this.#all()) {
      const runs = byLife.get(life) ?? [];
      if (life.end === 'back late') continue;
      if (life.end) {
        for (const run of runs)
          findings.false.push(`${nameOf(run)}: was ${life.end}`);
        continue;
      }
      this.#checkExpired(life, runs, findings, options);
    }
    return findings;
  }

  #checkExpired(
    life: Life,
    runs: readonly Handling[],
    findings: Findings,
    options: CheckOptions,
  ): void {
    const { lateness = Infinity, must = 'end', rolledBack = false } = options;
    const { grace = 0 } = options;
    const name = `${life.key}#${life.number}`;
    const deadline = life.deadlines.at(-1)!;
    if (!runs.some((run) => must === 'begin' || run.ended))
      findings.missing.push(name);
    // What is found after a gap is told by the last deadline that was known, and does not wait.
    const graceOf = ({ source }: Handling): number =>
      source === 'recovery' ? 0 : grace;
    for (const run of runs)
      if (run.at < deadline + graceOf(run))
        findings.false.push(`${nameOf(run)}: before its deadline, or grace`);
    if (new Set(runs.map(({ id }) => id)).size > 1)
      findings.twice.push(`${name}: ids ${runs.map(nameOf).join(', ')}`);
    const firsts = runs.filter(({ attempt }) => !(attempt >= 2));
    if (firsts.length > 1 && !rolledBack)
      findings.twice.push(
        `${name}: first tries ${runs.map(nameOf).join(', ')}`,
      );
    const first = Math.min(...runs.map(({ at }) => at));
    const late = first - deadline - grace;
    if (runs.length > 0 && late > lateness)
      findings.late.push(`${name}: ${late} ms`);
  }

  /** Which life each run was for: by its deadline, or else the newest that had run out by then. */
  #runs(handlings: readonly Handling[]) {
    const byLife = new Map<Life, Handling[]>();
    const stray: Handling[] = [];
    for (const handling of handlings) {
      const lives = this.#lives.get(handling.key) ?? [];
      const { deadline, at } = handling;
      const life =
        deadline === undefined
          ? (lives.findLast(({ deadlines }) => deadlines.at(-1)! <= at) ??
            lives[0])
          : lives.findLast(({ deadlines }) =>
              deadlines.some((d) => Math.abs(d - deadline) <= this.tolerance),
            );
      if (!life) stray.push(handling);
      else byLife.set(life, [...(byLife.get(life) ?? []), handling]);
    }
    return { byLife, stray };
  }

  #all(): Life[] {
    return [...this.#lives.values()].flat();
  }

  #last(key: string): Life {
    const life = this.#lives.get(key)?.at(-1);
    if (!life) throw new Error(`${key} was never set`);
    return life;
  }
}

const nameOf = (run: Handling): string => {
  const { key, id, attempt, process, source, deadline, lateness, at } = run;
  const after = deadline === undefined ? '?' : at - deadline;
  return (
    `${key} (id ${id}, attempt ${attempt}, process ${process}, ${source}, ` +
    `noticed after ${lateness} ms and run after ${after} ms)`
  );
};

/** Names that differ in every run of a test file. */
export const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);
