import { Generations } from './generations.js';

/** Ms for which a generation of keys is kept. */
const GENERATION = 5_000;

/** Whether keys that one look found gone may still be announced because of that look. */
export interface Announcements {
  over: boolean;
}

interface Gone {
  readonly deadline: number;
  /** By `performance.now()`. */
  readonly until: number;
  readonly announcements: Announcements | undefined;
}

/**
 * Remembers for a few seconds the deadlines of keys that were found gone: the announcement, which
 * comes by another connection, may arrive after the look that caused it.
 */
export class RecentlyGone {
  readonly #gone = new Generations<Gone>();
  #since = 0;

  /** Remembered until the `announcements` are over, and for a few seconds at most. */
  add(key: Buffer, deadline: number, announcements?: Announcements): void {
    this.#age();
    const until = announcements ? Infinity : performance.now() + GENERATION;
    this.#gone.set(key, { deadline, until, announcements });
  }

  /** The key's deadline, if it was found gone a moment ago. */
  take(key: Buffer): number | undefined {
    const gone = this.#gone.get(key);
    this.#gone.delete(key);
    if (!gone || gone.announcements?.over) return undefined;
    return gone.until >= performance.now() ? gone.deadline : undefined;
  }

  #age(): void {
    const now = Date.now();
    if (Math.abs(now - this.#since) < GENERATION) return;
    this.#gone.turn();
    this.#since = now;
  }
}

/**
 * The announcements that a look caused, which are over once so many ms have passed and the process
 * has read what had come to its sockets by then. A process that was held up finds its timers due
 * before it has read anything, so that the time alone would tell nothing.
 */
export function announcementsWithin(ms: number): Announcements {
  const announcements = { over: false };
  const end = (): void => {
    announcements.over = true;
  };
  setTimeout(() => setImmediate(end).unref(), ms).unref();
  return announcements;
}
