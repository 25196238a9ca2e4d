/** How much a group has to do. */
export interface Backlog {
  /** Events that no instance took yet. */
  readonly waiting: number;
  /** Events that some instance works on. */
  readonly pending: number;
  /** Events that wait for their next try. */
  readonly retrying: number;
  /** Dead letters. */
  readonly dead: number;
  /** Dead letters that were deleted, ever, because they were too old or too many: see the option `deadLetters`. */
  readonly deadLettersDropped: number;
  /** Partitions that have a leader: some instance watches their deadlines. */
  readonly leaders: number;
  /** Keys whose deadline is known. */
  readonly tracked: number;
}

const FIGURES = [
  ...(['waiting', 'pending', 'retrying'] as const),
  ...(['dead', 'deadLettersDropped', 'leaders', 'tracked'] as const),
] satisfies (keyof Backlog)[];

/** The backlogs of several partitions together; empty as long as one of them is not known. */
export function sumOf(backlogs: readonly Partial<Backlog>[]): Partial<Backlog> {
  const sum: { -readonly [K in keyof Backlog]?: number } = {};
  for (const figure of FIGURES) {
    let total = 0;
    for (const backlog of backlogs) total += backlog[figure] ?? NaN;
    if (!Number.isNaN(total)) sum[figure] = total;
  }
  return sum;
}
