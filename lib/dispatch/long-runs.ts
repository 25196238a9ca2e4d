import type { Log } from '../util/log.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import type { HandlerCall } from './handler-call.js';

/** Handlers of one name and pattern that have been running for more than a minute. */
export interface LongRunningHandler {
  /** `Class.method`. */
  readonly handler: string;
  readonly pattern: string;
  /** How many of its events have been running that long. */
  readonly count: number;
  /** The key of the one that has been running longest, and since when. */
  readonly key: string;
  readonly since: Date;
}

/** What is known of one call of a handler that has not ended. */
type Run = Pick<HandlerCall, 'handler' | 'expiry' | 'begunAt' | 'abort'>;

/** Ms between two looks at least, so that calls that get stuck together are reported together. */
const LOOK_INTERVAL_MS = 10_000;

/**
 * Watches for calls of handlers that do not end, for the `Dispatcher`: a warning names each once, when it has
 * been running for longer than `limitMs`. There is one line for each look and handler, however many of its
 * events are stuck.
 *
 * Guarantees: `begin` and `end` are O(1); one timer, while something is running that was not reported.
 */
export class LongRuns {
  /** In the order in which they began. */
  readonly #fresh = new Set<Run>();
  readonly #told = new Set<Run>();
  readonly #timer = new SoonestTimer(() => this.#look());

  constructor(
    private readonly log: Log,
    private readonly limitMs = 60_000,
  ) {}

  /** It has begun, and has not ended yet. */
  begin(run: Run): void {
    this.#fresh.add(run);
    if (this.#fresh.size === 1) this.#timer.within(this.limitMs);
  }

  end(run: Run): void {
    if (!this.#fresh.delete(run)) this.#told.delete(run);
  }

  /** The calls that have been running for longer than the limit, by handler and pattern. */
  get status(): LongRunningHandler[] {
    return this.#byHandler([...this.#told, ...this.#overdue()]);
  }

  /** Gives up whatever has not ended, and watches nothing any more. */
  close(reason: Error): void {
    this.#timer.stop();
    for (const run of [...this.#told, ...this.#fresh]) run.abort(reason);
  }

  #look(): void {
    const overdue = this.#overdue();
    for (const run of overdue) {
      this.#fresh.delete(run);
      this.#told.add(run);
    }
    for (const each of this.#byHandler(overdue)) this.#tell(each);
    const [oldest] = this.#fresh;
    const left = oldest && oldest.begunAt + this.limitMs - performance.now();
    if (left !== undefined)
      this.#timer.within(
        Math.max(left, Math.min(LOOK_INTERVAL_MS, this.limitMs)),
      );
  }

  #overdue(): Run[] {
    const runs: Run[] = [];
    const before = performance.now() - this.limitMs;
    for (const run of this.#fresh) {
      if (run.begunAt > before) break;
      runs.push(run);
    }
    return runs;
  }

  #byHandler(runs: readonly Run[]): LongRunningHandler[] {
    const groups = new Map<string, Run[]>();
    for (const run of runs) {
      const name = `${run.handler.name} ${run.handler.glob.pattern}`;
      groups.set(name, [...(groups.get(name) ?? []), run]);
    }
    return [...groups.values()].map((group) => {
      const oldest = group[0]!;
      const age = performance.now() - oldest.begunAt;
      return {
        handler: oldest.handler.name,
        pattern: oldest.handler.glob.pattern,
        count: group.length,
        key: oldest.expiry.key.toString(),
        since: new Date(Date.now() - age),
      };
    });
  }

  #tell({ handler, pattern, count, key, since }: LongRunningHandler): void {
    const others = count > 1 ? ` and on ${count - 1} more` : '';
    this.log.warn(
      `${handler} has been running since ${since.toISOString()} on key ${JSON.stringify(key)}${others} (pattern ${JSON.stringify(pattern)}) and has not ended. ` +
        'Each event that does not end takes a place of the concurrency: see whether it waits for something that never comes',
    );
  }
}
