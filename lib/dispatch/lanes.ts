import { Fifo } from '../util/fifo.js';
import type { ExpiryHandler } from './expiry.js';

/** A handler's own queue, so that a slow handler holds up no other. */
export interface Lane<Job> {
  readonly handler: ExpiryHandler;
  readonly queue: Fifo<Job>;
  running: number;
  /** Whether it has its place in the order of turns. */
  isInTurn: boolean;
  /** Whether its handler was forgotten; what still runs ends by itself. */
  isRemoved: boolean;
}

/** A job whose turn it is, and the lane that it comes from. */
export type Turn<Job> = readonly [lane: Lane<Job>, job: Job];

/**
 * The queues of the handlers, which take turns. The `Dispatcher` fills and empties them.
 *
 * Guarantees: a lane with work has one place in the order of turns, unless its handler runs as often as
 * its own limit allows; it goes to the end of the order after each turn. `add`, `next` and `end` are O(1).
 */
export class Lanes<Job> {
  readonly #lanes = new Map<ExpiryHandler, Lane<Job>>();
  /** Lanes that have work and room for it, in the order of their turns. */
  readonly #turns = new Fifo<Lane<Job>>();
  #queued = 0;

  /** Jobs that wait. */
  get queued(): number {
    return this.#queued;
  }

  /** Jobs that wait for a handler at its own limit, and so keep others from nothing. */
  get stuck(): number {
    let stuck = 0;
    for (const { queue, running, handler } of this.#lanes.values())
      if (running >= handler.concurrency) stuck += queue.size;
    return stuck;
  }

  add(handler: ExpiryHandler, job: Job): void {
    const lane = this.#laneOf(handler);
    lane.queue.push(job);
    this.#queued++;
    this.#awaitTurn(lane);
  }

  /** The job whose turn it is, which runs from now on until `end`; undefined if none may. */
  next(): Turn<Job> | undefined {
    for (let lane = this.#turns.shift(); lane; lane = this.#turns.shift()) {
      lane.isInTurn = false;
      const job = lane.queue.shift();
      // A lane that was removed is empty.
      if (!job) continue;
      lane.running++;
      this.#queued--;
      this.#awaitTurn(lane);
      return [lane, job];
    }
    return undefined;
  }

  /** A job that `next` gave has ended. */
  end(lane: Lane<Job>): void {
    lane.running--;
    this.#awaitTurn(lane);
  }

  /** Forgets a handler. Returns what waited for it. */
  remove(handler: ExpiryHandler): Job[] {
    const lane = this.#lanes.get(handler);
    if (!lane) return [];
    this.#lanes.delete(handler);
    lane.isRemoved = true;
    return this.#empty(lane);
  }

  /** Gives up everything that waits, and returns it. */
  clear(): Job[] {
    return [...this.#lanes.values()].flatMap((lane) => this.#empty(lane));
  }

  #laneOf(handler: ExpiryHandler): Lane<Job> {
    let lane = this.#lanes.get(handler);
    if (!lane) {
      lane = {
        handler,
        queue: new Fifo(),
        running: 0,
        isInTurn: false,
        isRemoved: false,
      };
      this.#lanes.set(handler, lane);
    }
    return lane;
  }

  #awaitTurn(lane: Lane<Job>): void {
    const { queue, running, handler, isInTurn } = lane;
    if (isInTurn || queue.size === 0 || running >= handler.concurrency) return;
    lane.isInTurn = true;
    this.#turns.push(lane);
  }

  #empty({ queue }: Lane<Job>): Job[] {
    const jobs: Job[] = [];
    for (let job = queue.shift(); job; job = queue.shift()) jobs.push(job);
    this.#queued -= jobs.length;
    return jobs;
  }
}
