import type { Log } from '../util/log.js';
import type { ExpiryCounters } from './counters.js';
import type { Expiry, ExpiryHandler } from './expiry.js';
import { Fifo } from '../util/fifo.js';
import { within } from '../util/within.js';
import { type LongRunningHandler, LongRuns, type Run } from './long-runs.js';
import { runHandler } from './run-handler.js';

/** Tells which of some keys exist at this moment. Rejects only once it was closed. */
export interface AliveCheck {
  /** The indexes of the keys that exist. */
  alive(keys: readonly Buffer[]): Promise<ReadonlySet<number>>;
  /** Where a key lives: keys of one place are answered for together, and hold up none of another. */
  placeOf(key: Buffer): string;
}

export interface DispatcherOptions {
  /** Handlers running at once. */
  readonly concurrency: number;
  /** Events waiting at once; one more is dropped. */
  readonly queueLimit: number;
}

/** How an event ended for one handler. */
export type Outcome = 'handled' | 'failed' | 'superseded' | 'dropped';
/** Is told once how an event ended, with the error if it failed. */
export type OnEnd = (outcome: Outcome, error?: unknown) => void;

/** What whoever offers an event wants to know of it, and to say. */
export interface Delivery {
  /** Is asked before the handler runs. */
  readonly gate: RunGate;
  /** It may kill the process, and is to begin with no other in one step. */
  readonly isAlone?: boolean;
  readonly ended: OnEnd;
}

/** Has a say in which handlers run, at the moment at which they are about to. */
export interface RunGate {
  /** Resolves with those that must not run. Rejects only once it was closed. */
  admit(deliveries: readonly Delivery[]): Promise<ReadonlySet<Delivery>>;
}

interface Job {
  readonly expiry: Expiry;
  readonly delivery: Delivery | undefined;
}

/** A handler's own queue, so that a slow handler holds up no other. */
interface Lane {
  readonly handler: ExpiryHandler;
  readonly queue: Fifo<Job>;
  running: number;
  waitingForTurn: boolean;
  removed: boolean;
}

type Turn = [lane: Lane, job: Job];

/**
 * Runs handlers for expiries: queues them, and at each one's turn asks whether the key was written
 * again; if so the event is superseded, else the handler runs.
 *
 * States: open (takes and runs) → draining (`drain`: takes nothing more, runs what waits) → closed.
 *
 * Guarantees: an `offer` is O(1), never throws and never runs user code; at most `concurrency`
 * handlers run at once, and of one handler at most its own limit; handlers take turns; every offer
 * ends in exactly one of the counters handled, failed, superseded and dropped.
 *
 * Left to others: what reaches the queue (keyspace/), and what a missing key means.
 */
export class Dispatcher {
  readonly #lanes = new Map<ExpiryHandler, Lane>();
  /** Lanes that have work and room for it, in the order of their turns. */
  readonly #turns = new Fifo<Lane>();
  #state: 'open' | 'draining' | 'closed' = 'open';
  #queued = 0;
  #running = 0;
  #pumpScheduled = false;
  #overflowing = false;
  #whenIdle: (() => void) | undefined;
  readonly #longRuns: LongRuns;

  constructor(
    private readonly options: DispatcherOptions,
    private readonly keys: AliveCheck,
    private readonly counters: ExpiryCounters,
    private readonly log: Log,
  ) {
    this.#longRuns = new LongRuns(log);
  }

  /** Handlers that have been running for more than a minute. */
  get longRunning(): LongRunningHandler[] {
    return this.#longRuns.status;
  }

  /** Events that wait for their turn. */
  get queued(): number {
    return this.#queued;
  }

  /** How many more could be run at once. What waits for a handler at its own limit keeps others from nothing. */
  get free(): number {
    let stuck = 0;
    for (const { queue, running, handler } of this.#lanes.values())
      if (running >= handler.concurrency) stuck += queue.size;
    const { concurrency } = this.options;
    return Math.max(0, concurrency - this.#running - (this.#queued - stuck));
  }

  /** Events that are being checked or handled. */
  get running(): number {
    return this.#running;
  }

  /** Queues an expiry for a handler. When the queue is full, the event is dropped, counted and logged. */
  offer(handler: ExpiryHandler, expiry: Expiry, delivery?: Delivery): void {
    this.counters.received++;
    if (this.#state !== 'open' || this.#queued >= this.options.queueLimit) {
      this.counters.dropped++;
      if (this.#state === 'open') this.#reportOverflow();
      delivery?.ended('dropped');
      return;
    }
    const lane = this.#laneOf(handler);
    lane.queue.push({ expiry, delivery });
    this.#queued++;
    this.#awaitTurn(lane);
    this.#schedulePump();
  }

  /** Forgets a handler. What still waits for it is dropped; what it is running ends by itself. */
  remove(handler: ExpiryHandler): void {
    const lane = this.#lanes.get(handler);
    if (!lane) return;
    this.#lanes.delete(handler);
    lane.removed = true;
    this.#dropWaiting(lane);
    this.#noticeIdle();
  }

  /**
   * Takes nothing more and waits, `timeout` ms at most, for what is queued and running. Whatever
   * has not started by then is dropped; handlers that still run are left to end by themselves.
   */
  async drain(timeout: number): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    if (this.#queued + this.#running > 0)
      await within(
        timeout,
        new Promise<void>((resolve) => (this.#whenIdle = resolve)),
      );
    this.#state = 'closed';
    this.#longRuns.close();
    if (this.#queued + this.#running > 0) {
      this.log.warn(
        `Shutdown did not wait longer than ${timeout} ms: ${this.#running} event(s) were in flight, ` +
          `${this.#queued} waiting event(s) were dropped`,
      );
      for (const lane of this.#lanes.values()) this.#dropWaiting(lane);
    }
  }

  #laneOf(handler: ExpiryHandler): Lane {
    let lane = this.#lanes.get(handler);
    if (!lane) {
      lane = {
        handler,
        queue: new Fifo(),
        running: 0,
        waitingForTurn: false,
        removed: false,
      };
      this.#lanes.set(handler, lane);
    }
    return lane;
  }

  #awaitTurn(lane: Lane): void {
    if (
      !lane.waitingForTurn &&
      lane.queue.size > 0 &&
      lane.running < lane.handler.concurrency
    ) {
      lane.waitingForTurn = true;
      this.#turns.push(lane);
    }
  }

  #reportOverflow(): void {
    if (this.#overflowing) return;
    this.#overflowing = true;
    this.log.error(
      `The queue is full (queueLimit ${this.options.queueLimit}): expiries are being dropped. ` +
        'Handlers are slower than keys expire; status().counters.dropped counts what is lost',
    );
  }

  /** One turn of the event loop later, so that all that a read brought shares one look at Redis. */
  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    setImmediate(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#state === 'closed') return;
    const batch: Turn[] = [];
    while (this.#running < this.options.concurrency) {
      const lane = this.#turns.shift();
      if (!lane) break;
      lane.waitingForTurn = false;
      const job = lane.queue.shift();
      if (!job) continue;
      batch.push([lane, job]);
      lane.running++;
      this.#running++;
      this.#queued--;
      this.#awaitTurn(lane);
    }
    if (this.#overflowing && this.#queued < this.options.queueLimit / 2) {
      this.#overflowing = false;
      this.log.warn('The queue has room again: no expiry is dropped any more');
    }
    for (const part of this.#byPlace(batch)) void this.#runBatch(part);
  }

  #byPlace(batch: readonly Turn[]): Iterable<Turn[]> {
    const parts = new Map<string | Turn, Turn[]>();
    for (const turn of batch) {
      const { expiry, delivery } = turn[1];
      const place = delivery?.isAlone
        ? turn
        : this.keys.placeOf(expiry.redisKey);
      const part = parts.get(place);
      if (part) part.push(turn);
      else parts.set(place, [turn]);
    }
    return parts.values();
  }

  async #runBatch(batch: readonly Turn[]): Promise<void> {
    let alive: ReadonlySet<number>;
    let refused: ReadonlySet<Delivery>;
    try {
      [alive, refused] = await Promise.all([
        this.keys.alive(batch.map(([, job]) => job.expiry.redisKey)),
        refusedOf(batch),
      ]);
    } catch {
      // Closed while it asked: whether these keys live will never be known.
      for (const [lane, job] of batch) this.#settle(lane, job, 'dropped');
      return;
    }
    batch.forEach(([lane, job], i) => {
      const isRefused = job.delivery && refused.has(job.delivery);
      if (lane.removed || this.#state === 'closed' || isRefused)
        this.#settle(lane, job, 'dropped');
      else if (alive.has(i)) this.#settle(lane, job, 'superseded');
      else this.#run(lane, job);
    });
  }

  #run(lane: Lane, job: Job): void {
    let run: Run | undefined;
    let ended = false;
    runHandler(lane.handler, job.expiry, this.log, (error) => {
      ended = true;
      if (run) this.#longRuns.end(run);
      if (error === undefined) this.#settle(lane, job, 'handled');
      else this.#settle(lane, job, 'failed', error.thrown);
    });
    // What ended at once need not be watched.
    if (!ended) run = this.#longRuns.begin(lane.handler, job.expiry);
  }

  #settle(lane: Lane, job: Job, outcome: Outcome, error?: unknown): void {
    this.counters[outcome]++;
    lane.running--;
    this.#running--;
    this.#awaitTurn(lane);
    job.delivery?.ended(outcome, error);
    if (this.#queued > 0) this.#schedulePump();
    this.#noticeIdle();
  }

  #noticeIdle(): void {
    if (this.#queued + this.#running === 0) this.#whenIdle?.();
  }

  /** Gives up what waits in a lane. */
  #dropWaiting(lane: Lane): void {
    for (let job = lane.queue.shift(); job; job = lane.queue.shift()) {
      this.#queued--;
      this.counters.dropped++;
      job.delivery?.ended('dropped');
    }
  }
}

/** Asks each gate once for all that are to pass it. */
async function refusedOf(
  batch: readonly Turn[],
): Promise<ReadonlySet<Delivery>> {
  const byGate = new Map<RunGate, Delivery[]>();
  for (const [, { delivery }] of batch) {
    if (!delivery) continue;
    const waiting = byGate.get(delivery.gate);
    if (waiting) waiting.push(delivery);
    else byGate.set(delivery.gate, [delivery]);
  }
  const refused = await Promise.all(
    [...byGate].map(([gate, deliveries]) => gate.admit(deliveries)),
  );
  return refused.length === 1
    ? refused[0]!
    : new Set(refused.flatMap((set) => [...set]));
}
