import type { Scheduler } from '../util/scheduler.js';

interface Appointment {
  readonly at: number;
  readonly work: () => void;
}

/**
 * A clock that stands still until a test moves it. It begins at the process's time, and takes no notice of
 * the process's timers, nor of fake ones that a test framework has put in their place.
 */
export class VirtualTime implements Scheduler {
  #now = Date.now();
  /** The soonest first; of the same moment, in the order in which they were made. */
  readonly #appointments: Appointment[] = [];

  /** Epoch ms. */
  get now(): number {
    return this.#now;
  }

  soon(work: () => void): void {
    // Not `queueMicrotask`, which Jest's fake timers hold up.
    void Promise.resolve().then(work);
  }

  after(ms: number, work: () => void): () => void {
    return this.at(this.#now + ms, work);
  }

  /** Does the work when the clock gets there. Returns a function that takes it back. */
  at(moment: number, work: () => void): () => void {
    const appointment = { at: moment, work };
    const later = this.#appointments.findIndex(({ at }) => at > moment);
    this.#appointments.splice(
      ...([later < 0 ? this.#appointments.length : later, 0] as const),
      appointment,
    );
    return () => {
      const index = this.#appointments.indexOf(appointment);
      if (index >= 0) this.#appointments.splice(index, 1);
    };
  }

  /**
   * Moves to the next moment for which something is to be done, unless that is later than `until`, and does
   * it. Returns whether there was something; if not, it is `until` now.
   */
  step(until: number): boolean {
    const [next] = this.#appointments;
    if (!next || next.at > until) {
      this.#now = Math.max(this.#now, until);
      return false;
    }
    this.#now = Math.max(this.#now, next.at);
    this.#appointments.shift();
    next.work();
    return true;
  }
}
