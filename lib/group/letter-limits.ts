import { performance } from 'node:perf_hooks';
import type { Log } from '../util/log.js';

/** How long, and how many, dead letters of a group are kept. */
export interface LetterLimits {
  /** Ms from when an event was given up. */
  readonly maxAge: number;
  readonly maxCount: number;
}

const DAY_MS = 24 * 3_600_000;

export const DEFAULT_LETTER_LIMITS: LetterLimits = {
  maxAge: 30 * DAY_MS,
  maxCount: 100_000,
};

/** Ms between two warnings. */
const WARNING_INTERVAL_MS = 600_000;

/**
 * Warns that dead letters were deleted because of their limits: at the first one at once, and then
 * every ten minutes at most, with how many there were since the warning before.
 */
export class DroppedLetters {
  #unreported = 0;
  #warnedAt = -Infinity;

  constructor(
    private readonly group: string,
    private readonly limits: LetterLimits,
    private readonly log: Log,
  ) {}

  /** This instance has deleted so many. */
  add(count: number): void {
    this.#unreported += count;
    const now = performance.now();
    if (this.#unreported === 0 || now - this.#warnedAt < WARNING_INTERVAL_MS)
      return;
    const { maxAge, maxCount } = this.limits;
    this.log.warn(
      `Group "${this.group}": ${this.#unreported} dead letter(s) were deleted, the oldest first: ` +
        `${maxCount} are kept at most (deadLetters.maxCount), each for ${maxAge} ms (deadLetters.maxAge). ` +
        'Redrive or discard letters before that; status().groups[].deadLettersDropped counts what was deleted',
    );
    this.#unreported = 0;
    this.#warnedAt = now;
  }
}
