import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { sleep } from '../util/sleep.js';
import type { RedisIndex } from './redis-index.js';

/** Entries that an audit looks at in one step, and ms between two steps. */
const PAGE = 500;
const PAUSE_MS = 2;
/** Ms before an audit is made anew that failed. */
const RETRY_MS = 100;

/** The node whose keys are audited. `GroupNode` is one. */
export interface AuditedNode {
  /** What is heard counts: the keys may be looked at. */
  readonly isListening: boolean;
  /** Changes whenever listening is lost. */
  readonly generation: number;
  /** Redis's time, in epoch ms. */
  now(): number;
  look(entries: readonly DeadlineEntry[]): Promise<void>;
  report(error: unknown): void;
}

/**
 * Looks once at every key that the index expects to live, after a time in which nobody listened: keys that were
 * deleted in that gap must not count as expired in a later one. `GroupNode` has one.
 *
 * States: idle → `ask` → due → `run` → running → idle, or due again where listening was lost meanwhile.
 */
export class GapAudit {
  #isDue = false;
  #isRunning = false;

  constructor(
    private readonly index: Pick<RedisIndex, 'page'>,
    private readonly node: AuditedNode,
  ) {}

  /** There was a gap. */
  ask(): void {
    this.#isDue = true;
  }

  async run(): Promise<void> {
    if (!this.#isDue || this.#isRunning) return;
    this.#isRunning = true;
    const { node } = this;
    const { generation } = node;
    const isCurrent = (): boolean =>
      generation === node.generation && node.isListening;
    try {
      let cursor = '0';
      do {
        const page = await this.index.page(cursor, PAGE);
        const now = node.now();
        const ahead = page.entries.filter(({ at }) => at > now);
        if (ahead.length > 0) await node.look(ahead);
        cursor = page.cursor;
        await sleep(PAUSE_MS);
      } while (cursor !== '0' && isCurrent());
      if (isCurrent()) this.#isDue = false;
    } catch (error) {
      node.report(error);
      await sleep(RETRY_MS, { ref: false });
    }
    this.#isRunning = false;
    // It failed, or listening was lost meanwhile and found again.
    if (node.isListening) void this.run();
  }
}
