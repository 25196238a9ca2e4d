import { performance } from 'node:perf_hooks';
import type { DeadlineIndex } from './deadline-index.js';
import type { ScanReport } from '../keyspace/node-observer.js';
import type { TtlReader } from './ttl-reader.js';

export interface ScanOptions {
  readonly index: Pick<DeadlineIndex, 'enrol'>;
  readonly reader: Pick<TtlReader, 'scan'>;
  /** Keys that one page looks at. */
  readonly count: number;
  /** Whether the key is one to enrol: the module's own are not. */
  readonly wanted: (key: Buffer) => boolean;
  /** Keys were enrolled; the soonest of their deadlines. */
  readonly onEnrolled: (soonest: number) => void;
}

/**
 * Enrols every key of one server that matches some patterns and has a deadline, page by page. Between
 * two pages it rests, so that it takes no more than a share of the server's time.
 *
 * @param patterns globs, `keyPrefix` included
 * @param share of the time in which a page may be under way, above 0 and at most 1
 * @returns undefined when it was aborted; rejects as the connection does
 */
export async function scanDeadlines(
  { index, reader, count, wanted, onEnrolled }: ScanOptions,
  patterns: Iterable<string>,
  share: number,
  abort: AbortSignal,
): Promise<ScanReport | undefined> {
  const at = new Date();
  const started = performance.now();
  let keys = 0;
  /** Ms of rest that are due: what is done meanwhile counts, and what was slept too long. */
  let debt = 0;
  for (const pattern of patterns) {
    let cursor = '0';
    do {
      const asked = performance.now();
      const page = await reader.scan(cursor, pattern, count);
      const answered = performance.now();
      debt += (answered - asked) * (1 / share - 1);
      if (abort.aborted) return undefined;
      const entries = page.entries.filter(({ key }) => wanted(key));
      if (entries.length > 0) {
        keys += entries.length;
        await index.enrol(entries);
        onEnrolled(entries.reduce((a, { at }) => Math.min(a, at), Infinity));
      }
      const owed = debt - (performance.now() - answered);
      if (owed >= 1) await pause(owed, abort);
      debt = Math.max(-2, debt - (performance.now() - answered));
      if (abort.aborted) return undefined;
      cursor = page.cursor;
    } while (cursor !== '0');
  }
  return { at, keys, duration: Math.round(performance.now() - started) };
}

function pause(ms: number, abort: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    abort.addEventListener('abort', done);
    function done(): void {
      clearTimeout(timer);
      abort.removeEventListener('abort', done);
      resolve();
    }
  });
}
