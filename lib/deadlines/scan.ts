import { performance } from 'node:perf_hooks';
import type { DeadlineEntry, DeadlineIndex } from './deadline-index.js';
import type { ScanReport } from '../listening/deadline-keeper.js';
import { sleep } from '../util/sleep.js';
import type { ScanPlan } from './scan-plan.js';
import type { TtlReader } from './ttl-reader.js';

/** Keys that are read by their names in one round trip. */
const BATCH_SIZE = 500;

export interface ScanOptions {
  readonly index: Pick<DeadlineIndex, 'enrol'>;
  readonly reader: Pick<TtlReader, 'scan' | 'read'>;
  /** How many keys one page looks at. */
  readonly count: number;
  /** Whether a key is to be enrolled; the module's own are not. */
  readonly wanted: (key: Buffer) => boolean;
  /** Keys were enrolled; the soonest of their deadlines. */
  readonly onEnrolled: (soonest: number) => void;
}

/**
 * Enrols every key of one server that a plan finds and that has a deadline, page by page. Between two
 * pages it rests, so that it takes no more than a share of the server's time.
 *
 * @param share of the time in which a page may be under way, above 0 and at most 1
 * @returns undefined when it was aborted; rejects as the connection does
 */
export async function scanDeadlines(
  options: ScanOptions,
  plan: ScanPlan,
  share: number,
  abort: AbortSignal,
): Promise<ScanReport | undefined> {
  const { index, wanted, onEnrolled } = options;
  const at = new Date();
  const started = performance.now();
  let keys = 0;
  /** Ms of rest that are due. Time for other work counts as rest, and so does what was slept too long. */
  let debt = 0;
  const pages = pagesOf(options, plan);
  for (;;) {
    const asked = performance.now();
    const page = await pages.next();
    const answered = performance.now();
    debt += (answered - asked) * (1 / share - 1);
    if (abort.aborted) return undefined;
    if (page.done) break;
    const entries = page.value.filter(({ key }) => wanted(key));
    if (entries.length > 0) {
      keys += entries.length;
      await index.enrol(entries);
      onEnrolled(entries.reduce((a, { at }) => Math.min(a, at), Infinity));
    }
    const owed = debt - (performance.now() - answered);
    if (owed >= 1) await sleep(owed, { signal: abort });
    debt = Math.max(-2, debt - (performance.now() - answered));
    if (abort.aborted) return undefined;
  }
  return { at, keys, duration: Math.round(performance.now() - started) };
}

/** The pages of a plan: what each round trip finds of keys that have a deadline. */
async function* pagesOf(
  { reader, count, wanted }: ScanOptions,
  { literals, pass }: ScanPlan,
): AsyncGenerator<DeadlineEntry[], void, void> {
  yield* readPages(reader, literals.filter(wanted));
  if (!pass) return;
  let cursor = '0';
  do {
    const page = await reader.scan(cursor, pass, count);
    yield page.entries;
    yield* readPages(reader, page.candidates.filter(wanted));
    cursor = page.cursor;
  } while (cursor !== '0');
}

async function* readPages(
  reader: Pick<TtlReader, 'read'>,
  keys: readonly Buffer[],
): AsyncGenerator<DeadlineEntry[], void, void> {
  for (let i = 0; i < keys.length; i += BATCH_SIZE) {
    const batch = keys.slice(i, i + BATCH_SIZE);
    const { now, ttls } = await reader.read(batch);
    const entries = batch.map((key, j) => ({ key, at: now + ttls[j]! }));
    yield entries.filter((_, j) => ttls[j]! >= 0);
  }
}
