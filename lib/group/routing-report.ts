import { performance } from 'node:perf_hooks';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { Log } from '../util/log.js';
import { readableId } from './own-handlers.js';
import type { StoredEvent } from './stored-event.js';

/** Between two log lines of one kind, at least. */
const LINE_INTERVAL_MS = 60_000;

/**
 * Tells an operator what becomes of a group's events for which this instance has no handler: counts them,
 * and writes one line of each kind a minute, at most, with how many more there were.
 */
export class RoutingReport {
  readonly #lines = new Map<string, { at: number; more: number }>();

  constructor(
    private readonly group: string,
    private readonly counters: ExpiryCounters,
    private readonly log: Log,
  ) {}

  /** `isSlow`: it was passed on so often that it waits as long as it ever does. */
  passedOn(event: StoredEvent, isSlow: boolean): void {
    this.counters.passedOn++;
    if (!isSlow) return;
    this.#warn('slow', () => {
      const wanted =
        event.handler === undefined
          ? 'whose pattern matches it'
          : JSON.stringify(readableId(event.handler));
      return (
        `${kindOf(event)} of ${keyOf(event)} was passed on ${event.passes + 1} times: only other instances have ` +
        `the handler ${wanted}, and none of them takes it. It waits, and is not lost; ` +
        'look whether those instances are stuck, or have too little room (concurrency)'
      );
    });
  }

  /** The handler that it was for lives nowhere: others get it. */
  substituted(event: StoredEvent, lost: string, ids: readonly string[]): void {
    this.#warn(`lost ${lost}`, () => {
      const others = ids.map((id) => JSON.stringify(readableId(id)));
      return (
        `no living instance has the handler ${JSON.stringify(readableId(lost))} any more, which was to try ${kindOf(event)} ` +
        `of ${keyOf(event)} again. Every handler whose pattern matches gets it instead: ${others.join(', ')}. ` +
        'This is as it should be if the class or the method was renamed or removed'
      );
    });
  }

  /** The handler that it was for lives nowhere, and every other one has had it: it is over. */
  overtaken(event: StoredEvent, lost: string): void {
    // Nobody ever tried it: its subscription ended before its turn came, as its owner asked for.
    if (event.tries === 0) return;
    this.#warn(`over ${lost}`, () => {
      return (
        `no living instance has the handler ${JSON.stringify(readableId(lost))} any more, which was to try ${kindOf(event)} ` +
        `of ${keyOf(event)} again. Every other handler whose pattern matches got it before, so it is not tried again. ` +
        'This is as it should be if the handler was unsubscribed or removed'
      );
    });
  }

  /** No handler of the group is for it: it becomes a dead letter. */
  unhandled(event: StoredEvent, error: string): void {
    this.#warn('unhandled', () => {
      return (
        `${kindOf(event)} of ${keyOf(event)} became a dead letter: ${error}. ` +
        'Start an instance that has one and redrive it, or discard it'
      );
    });
  }

  #warn(kind: string, text: () => string): void {
    const now = performance.now();
    const line = this.#lines.get(kind);
    if (line && now - line.at < LINE_INTERVAL_MS) {
      line.more++;
      return;
    }
    for (const [old, { at }] of this.#lines)
      if (now - at >= LINE_INTERVAL_MS) this.#lines.delete(old);
    this.#lines.set(kind, { at: now, more: 0 });
    const more = line?.more ? ` (${line.more} more like this before)` : '';
    this.log.warn(`Group "${this.group}": ${text()}${more}`);
  }
}

const keyOf = ({ redisKey }: StoredEvent): string =>
  `key ${JSON.stringify(redisKey.toString())}`;

const kindOf = ({ before }: StoredEvent): string =>
  before === undefined ? 'an expiry' : `a warning (before: ${before})`;
