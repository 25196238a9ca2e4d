import { RedisExpiryError } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import type { ExpiryCounters } from './counters.js';
import type { Expiry, ExpiryHandler } from './expiry.js';
import { type KeyStates, supersededOf } from './superseded.js';
import { PROCESS_TIME, type Scheduler } from '../util/scheduler.js';
import { type Lane, Lanes, type Turn } from './lanes.js';
import {
  type Delivery,
  type Outcome,
  type Refusals,
  refusedOf,
} from './run-gate.js';
import { HandlerCall } from './handler-call.js';
import { type LongRunningHandler, LongRuns } from './long-runs.js';
import {
  ObservedTry,
  ObserverErrors,
  type TryObserver,
} from './observed-try.js';

/** Tells how keys are at this moment. `KeyCheck` of the topology does. */
export interface AliveCheck extends KeyStates {
  /** Names the place where a key lives. Keys of one place are asked for together, and hold up none of another. */
  placeOf(key: Buffer): string;
}

export interface DispatcherOptions {
  /** The most handlers that run at once. */
  readonly concurrency: number;
  /** The most events that wait at once; one more is dropped. */
  readonly queueLimit: number;
  /** Is around each try. */
  readonly telemetry?: TryObserver | undefined;
}

interface Job {
  readonly expiry: Expiry;
  readonly delivery: Delivery | undefined;
}

/**
 * Runs handlers for expiries and warnings: it queues them, and at each one's turn asks whether the key was written
 * again, or renewed; if so the event is superseded, else the handler runs. Broadcast and the consumers of groups
 * offer their events to the one dispatcher of an engine.
 *
 * States:
 * - *open* (at first): takes events and runs them.
 * - *draining* (after `drain`): takes nothing more, and runs what waits.
 * - *closed* (when all has ended, or `drain` has waited long enough): what still waits is dropped.
 *
 * Guarantees: an `offer` is O(1), never throws and never runs user code; at most `concurrency`
 * handlers run at once, and of one handler at most its own limit; handlers take turns; every offer
 * ends in exactly one of the counters handled, failed, superseded, cameBack and dropped.
 *
 * Left to others: what is offered, and what a missing key means.
 */
export class Dispatcher {
  readonly #lanes = new Lanes<Job>();
  #state: 'open' | 'draining' | 'closed' = 'open';
  #running = 0;
  #pumpScheduled = false;
  #overflowing = false;
  #whenIdle: (() => void) | undefined;
  readonly #longRuns: LongRuns;
  readonly #observerErrors: ObserverErrors;

  constructor(
    private readonly options: DispatcherOptions,
    private readonly keys: AliveCheck,
    private readonly counters: ExpiryCounters,
    private readonly log: Log,
    private readonly time: Scheduler = PROCESS_TIME,
  ) {
    this.#longRuns = new LongRuns(log);
    this.#observerErrors = new ObserverErrors(log);
  }

  /** Handlers that have been running for more than a minute. */
  get longRunning(): LongRunningHandler[] {
    return this.#longRuns.status;
  }

  /** Events that wait for their turn. */
  get queued(): number {
    return this.#lanes.queued;
  }

  /** How many more events could be run at once. Those that wait for a handler at its own limit take no place. */
  get free(): number {
    const waiting = this.queued - this.#lanes.stuck;
    return Math.max(0, this.options.concurrency - this.#running - waiting);
  }

  /** Events that are being checked or handled. */
  get running(): number {
    return this.#running;
  }

  /** Queues an expiry for a handler. When the queue is full, the event is dropped, counted and logged. */
  offer(handler: ExpiryHandler, expiry: Expiry, delivery?: Delivery): void {
    this.counters.received++;
    if (this.#state !== 'open' || this.queued >= this.options.queueLimit) {
      this.counters.dropped++;
      if (this.#state === 'open') this.#reportOverflow();
      delivery?.ended('dropped');
      return;
    }
    this.#lanes.add(handler, { expiry, delivery });
    this.#schedulePump();
  }

  /** Forgets a handler. Events that wait for it are dropped; runs that have begun end by themselves. */
  remove(handler: ExpiryHandler): void {
    this.#drop(this.#lanes.remove(handler));
    this.#noticeIdle();
  }

  /**
   * Takes nothing more and waits, `timeout` ms at most, for what is queued and running. Events whose
   * handler has not begun by then are dropped. The signals of events whose handlers still run are aborted,
   * and these handlers are left to end by themselves.
   */
  async drain(timeout: number): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    if (!this.#isIdle) await this.#untilIdle(timeout);
    this.#state = 'closed';
    this.#longRuns.close(
      new RedisExpiryError(
        'CLOSED',
        `The application is shut down, and its shutdownTimeout of ${timeout} ms is over.`,
      ),
    );
    if (!this.#isIdle) {
      this.log.warn(
        `Shutdown did not wait longer than ${timeout} ms: ${this.#running} event(s) were in flight, ` +
          `${this.queued} waiting event(s) were dropped. A group has another instance handle them; in broadcast they are lost. ` +
          'Raise shutdownTimeout, or let handlers heed event.signal',
      );
      this.#drop(this.#lanes.clear());
    }
  }

  /** Resolves once it is idle, or after so many ms. */
  #untilIdle(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.time.after(ms, resolve, { ref: true });
      this.#whenIdle = () => {
        cancel();
        resolve();
      };
    });
  }

  get #isIdle(): boolean {
    return this.queued + this.#running === 0;
  }

  #reportOverflow(): void {
    if (this.#overflowing) return;
    this.#overflowing = true;
    this.log.error(
      `The queue is full (queueLimit ${this.options.queueLimit}): expiries are being dropped. ` +
        'Handlers are slower than keys expire; status().counters.dropped counts what is lost',
    );
  }

  /** Begins what may begin at the end of this turn of the event loop, so that all events that one read brought are checked together. */
  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    this.time.soon(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#state === 'closed') return;
    const batch: Turn<Job>[] = [];
    while (this.#running < this.options.concurrency) {
      const turn = this.#lanes.next();
      if (!turn) break;
      batch.push(turn);
      this.#running++;
    }
    if (this.#overflowing && this.queued < this.options.queueLimit / 2) {
      this.#overflowing = false;
      this.log.warn('The queue has room again: no expiry is dropped any more');
    }
    for (const part of this.#byPlace(batch)) void this.#runBatch(part);
  }

  #byPlace(batch: readonly Turn<Job>[]): Iterable<Turn<Job>[]> {
    const parts = new Map<string | Turn<Job>, Turn<Job>[]>();
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

  async #runBatch(batch: readonly Turn<Job>[]): Promise<void> {
    let superseded: ReadonlySet<number>;
    let refused: Refusals;
    try {
      [superseded, refused] = await Promise.all([
        supersededOf(
          batch.map(([, job]) => job.expiry),
          this.keys,
        ),
        refusedOf(batch.flatMap(([, { delivery }]) => delivery ?? [])),
      ]);
    } catch {
      // The check was closed meanwhile, so whether these keys exist will never be known.
      for (const [lane, job] of batch) this.#end(lane, job, 'dropped');
      return;
    }
    batch.forEach(([lane, job], i) => {
      const refusal = job.delivery && refused.get(job.delivery);
      const isOver = lane.isRemoved || this.#state === 'closed';
      if (isOver) this.#end(lane, job, 'dropped');
      else if (refusal) this.#end(lane, job, refusal);
      else if (!superseded.has(i)) this.#run(lane, job);
      else this.#end(lane, job, aliveAs(job.expiry));
    });
  }

  #run(lane: Lane<Job>, job: Job): void {
    const { handler } = lane;
    const run = new HandlerCall(
      ...([handler, job.expiry, this.time, this.log] as const),
      (end) => {
        this.#longRuns.end(run);
        if ('thrown' in end) this.#end(lane, job, 'failed', end.thrown);
        else this.#end(lane, job, 'handled', undefined, end.result);
      },
      this.#observed(),
    );
    run.start();
    // One that ended at once need not be watched.
    if (!run.hasEnded) this.#longRuns.begin(run);
  }

  #observed(): ObservedTry | undefined {
    const { telemetry } = this.options;
    if (!telemetry?.process) return undefined;
    return new ObservedTry(telemetry, this.#observerErrors);
  }

  #end(
    lane: Lane<Job>,
    job: Job,
    outcome: Outcome,
    error?: unknown,
    result?: unknown,
  ): void {
    this.counters[outcome]++;
    this.#running--;
    this.#lanes.end(lane);
    job.delivery?.ended(outcome, error, result);
    if (this.queued > 0) this.#schedulePump();
    this.#noticeIdle();
  }

  #noticeIdle(): void {
    if (this.#isIdle) this.#whenIdle?.();
  }

  #drop(jobs: readonly Job[]): void {
    this.counters.dropped += jobs.length;
    for (const { delivery } of jobs) delivery?.ended('dropped');
  }
}

/** What becomes of an event whose key is alive at its turn. */
const aliveAs = ({ isAfterGrace }: Expiry): 'cameBack' | 'superseded' =>
  isAfterGrace ? 'cameBack' : 'superseded';
