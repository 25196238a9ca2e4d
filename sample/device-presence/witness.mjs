/** Watches the watchers: who fell silent, and what did the instances make of it? */

/** @typedef {{ id: string, status: 'online' | 'offline', deadline?: number, expiring?: boolean, outages: number, attempt?: number, handledBy?: string }} Device */

/** Ms for which a device may be silent after its deadline, and is back in time: `GRACE` of presence.service.ts. */
const GRACE = 2_500;
/** Ms after which an expiry that nobody handled counts as lost. */
const PATIENCE = 5_000;

/**
 * It knows what must expire from the heartbeats alone: a device that sends none until its deadline, nor within the grace.
 * What was handled it hears from the instances, as the page does.
 */
export class Witness {
  counts = { expired: 0, handled: 0, lost: 0, redelivered: 0 };
  /** @type {Record<string, number>} how many each instance handled */
  handledBy = {};

  /** @type {Map<string, number>} outages of each device that sent a heartbeat */
  #outages = new Map();
  /** @type {Map<string, NodeJS.Timeout>} */
  #deadlines = new Map();

  /** @param {Device} device as it changed */
  take(device) {
    const { id, status, deadline = 0, outages, expiring } = device;
    const { attempt = 1, handledBy = '' } = device;
    // A warning is no heartbeat.
    if (expiring) return;
    if (status === 'online') {
      clearTimeout(this.#deadlines.get(id));
      const lapse = () => this.#lapse(id, outages);
      const left = deadline + GRACE - Date.now();
      this.#deadlines.set(id, setTimeout(lapse, left).unref());
    } else {
      const before = this.#outages.get(id);
      // Of an earlier run, or somebody else's.
      if (before === undefined) return;
      const more = outages - before;
      this.counts.handled += more;
      this.handledBy[handledBy] = (this.handledBy[handledBy] ?? 0) + more;
      if (attempt > 1) this.counts.redelivered++;
    }
    this.#outages.set(id, outages);
  }

  get line() {
    const each = Object.entries(this.counts);
    return each.map(([what, count]) => `${what} ${count}`).join(', ');
  }

  /**
   * @param {string} id
   * @param {number} before its outages until now
   */
  #lapse(id, before) {
    this.counts.expired++;
    setTimeout(() => {
      if (this.#outages.get(id) === before) this.counts.lost++;
    }, PATIENCE).unref();
  }
}
