/** Delayed jobs that are put off again and again, as a heartbeat would. */
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';

/** Renewals that are on their way together. */
const PER_PIECE = 100;

export class DelayedJobs {
  #next = 0;

  /**
   * @param {Queue} queue
   * @param {import('bullmq').Job[]} jobs
   * @param {number} ttl ms
   */
  constructor(queue, jobs, ttl) {
    this.queue = queue;
    this.jobs = jobs;
    this.ttl = ttl;
  }

  /**
   * @param {number} port
   * @param {number} count
   * @param {number} ttl ms
   */
  static async add(port, count, ttl) {
    const queue = new Queue('due', { connection: { host: '127.0.0.1', port } });
    const jobs = [];
    for (let from = 0; from < count; from += 1_000)
      jobs.push(
        ...(await queue.addBulk(
          Array.from({ length: Math.min(1_000, count - from) }, (_, i) => ({
            name: 'due',
            data: { n: from + i },
            opts: { delay: ttl, removeOnComplete: true },
          })),
        )),
      );
    return new DelayedJobs(queue, jobs, ttl);
  }

  /**
   * Puts off one job after the other, as fast as Redis takes it, or no faster than `perSecond`.
   *
   * @param {number} count
   * @param {number} [perSecond]
   */
  async renew(count, perSecond = Infinity) {
    const began = performance.now();
    for (let done = 0; done < count; done += PER_PIECE) {
      const early = (done / perSecond) * 1_000 - (performance.now() - began);
      if (early > 0) await delay(early);
      await Promise.all(
        Array.from({ length: PER_PIECE }, () => this.#renewNext()),
      );
    }
  }

  async #renewNext() {
    await this.jobs[this.#next++ % this.jobs.length]?.changeDelay(this.ttl);
  }

  close() {
    return this.queue.close();
  }
}
