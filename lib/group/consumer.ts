import { performance } from 'node:perf_hooks';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { Log } from '../util/log.js';
import { Pause } from '../util/pause.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import { within } from '../util/within.js';
import { type DeliveryContext, deliver, routeFor } from './delivery.js';
import type { Backlog } from './backlog.js';
import type { EventStream } from './event-stream.js';
import type { DroppedLetters } from './letter-limits.js';
import type { Entry } from './stream-entry.js';

export interface ConsumerOptions {
  readonly stream: EventStream;
  readonly context: DeliveryContext;
  /** Ms that an entry stays with an instance that stopped renewing it. */
  readonly leaseDuration: number;
  /** Whether this instance does the group's housekeeping. */
  readonly leads: () => boolean;
  readonly counters: ExpiryCounters;
  readonly dropped: DroppedLetters;
  readonly log: Log;
}

/** Ms before what failed for want of a connection is tried again. */
const AGAIN = 100;
/** Ms after which it looks for room again, though nothing of its own has ended. */
const SOON = 20;
/** Ms that shutdown waits for Redis to take what has ended. */
const LAST_WORDS = 2_000;
/** Ms between two looks for due retries, by the instance that leads. */
const PROMOTION = 1_000;
/** Ms for which a retry may still be waiting after it was due: its promotion is on its way. */
const PROMOTION_SLACK_MS = 100;
/** Ms between two looks at the backlog. */
const BACKLOG = 2_000;
/** Events that one step moves or reads at most. */
const MOST = 1_000;
/** Events that it holds at most, those included that are over and being ended; of others, `MOST`. */
const MOST_HELD = 4 * MOST;

/**
 * Takes a group's events, has them handled, and ends them.
 *
 * States: new → `start` → taking → `stop` → finishing what it took → done.
 *
 * Guarantees: it takes no more than can be run at once; an entry is ended only after its handlers
 * have; until then it is renewed, and what this instance leaves behind is taken over by another
 * after `leaseDuration`.
 */
export class Consumer {
  backlog: Backlog | undefined;
  readonly #held = new Map<string, Entry>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Entries of which it is not known yet who has a handler for them. */
  readonly #deciding = new Set<Promise<unknown>>();
  readonly #finishing = new Set<Promise<void>>();
  /** How many of them are over and being ended. */
  #ending = 0;
  #acks: string[] = [];
  #acking: Promise<void> | undefined;
  #stopped = false;
  #reading: Promise<void> = Promise.resolve();
  /** Waits for room. */
  readonly #pause = new Pause();
  /** Puts retries back when they are due. */
  readonly #promotion = new SoonestTimer(() =>
    this.#guarded(() => this.#promote()),
  );
  /** When the last retry is due that this instance put aside and promotes itself, by `performance.now()`. */
  #promotesUntil = 0;

  constructor(private readonly options: ConsumerOptions) {}

  /** Rejects if the group's stream could not be made. */
  async start(): Promise<void> {
    const { stream, leaseDuration, leads } = this.options;
    await stream.create();
    this.backlog = await stream.backlog();
    if (this.#stopped || this.#timers.size > 0) return;
    this.#reading = this.#read();
    this.#every(Math.max(10, leaseDuration / 3), () => this.#renew());
    this.#every(Math.max(10, leaseDuration / 2), () => this.#claim());
    this.#every(PROMOTION, async () => {
      if (leads()) this.#promotion.within(0);
    });
    this.#every(BACKLOG, async () => {
      this.backlog = await stream.backlog();
      if (!leads()) return;
      await stream.reap(Math.max(15_000, 2 * leaseDuration));
      if (this.backlog.dead > 0) await this.#dropLetters();
    });
  }

  /** Takes nothing more. Resolves when the read that is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#promotion.stop();
    this.#pause.end();
    // A read that was just begun may not wait yet: asked again until it has ended.
    const ending = setInterval(() => void this.options.stream.endRead(), 50);
    await this.options.stream.endRead();
    await this.#reading;
    clearInterval(ending);
  }

  /** After `stop`: resolves when everything that has ended is told to Redis. */
  async finish(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
    await within(LAST_WORDS, Promise.all(this.#deciding));
    // What ended a moment ago is still on its way to the list.
    await new Promise((resolve) => setImmediate(resolve));
    await within(LAST_WORDS, Promise.all([this.#acking, ...this.#finishing]));
  }

  async #read(): Promise<void> {
    const { stream, log } = this.options;
    /** The answer to a read was lost, and with it what Redis gave. */
    let lost = false;
    while (!this.#stopped) {
      const free = Math.min(
        this.#free,
        MOST - (this.#held.size - this.#ending),
        MOST_HELD - this.#held.size,
      );
      if (free <= 0) {
        // Other work than this group's may have left room too.
        await this.#pause.wait(SOON);
        continue;
      }
      try {
        if (lost) await this.#takeAgain();
        lost = false;
        for (const entry of await stream.read(free)) this.#take(entry);
      } catch (error) {
        if (isClosed(error)) return;
        lost = true;
        log.debug(`Reading events failed: ${reasonOf(error)}`);
        await new Promise((resolve) => setTimeout(resolve, AGAIN));
      }
    }
  }

  /** Takes what was given to this instance and never came; what it had is being ended, or was by now. */
  async #takeAgain(): Promise<void> {
    const had = new Set(this.#held.keys());
    for (const entry of await this.options.stream.readAgain())
      if (!had.has(entry.id)) this.#take(entry);
  }

  /** Places for more events: those count as taken, too, of which it is not decided yet who handles them. */
  get #free(): number {
    return this.options.context.dispatcher.free - this.#deciding.size;
  }

  #take(entry: Entry): void {
    if (this.#held.has(entry.id)) return;
    this.#held.set(entry.id, entry);
    void this.#handle(entry);
  }

  async #handle(entry: Entry): Promise<void> {
    const { context, counters, dropped, stream } = this.options;
    const deciding = routeFor(entry, context);
    this.#deciding.add(deciding);
    const route = await deciding;
    this.#deciding.delete(deciding);
    const left = await deliver(entry, route, context);
    this.#ending++;
    this.#pause.end();
    if (!left) {
      this.#acknowledge(entry.id);
      return;
    }
    counters.deadLettered += left.dead.length;
    const finishing = this.#untilDone(async () =>
      dropped.add(await stream.finish(entry.id, left)),
    );
    this.#finishing.add(finishing);
    await finishing;
    this.#finishing.delete(finishing);
    this.#release(entry.id);
    for (const { delay } of left.retries) this.#promoteAfter(delay);
  }

  /** All that end in one turn of the event loop are ended by one command. */
  #acknowledge(id: string): void {
    this.#acks.push(id);
    this.#acking ??= (async () => {
      await new Promise((resolve) => setImmediate(resolve));
      while (this.#acks.length > 0) {
        const ids = this.#acks.splice(0, MOST);
        await this.#untilDone(() => this.options.stream.acknowledge(ids));
        for (const done of ids) this.#release(done);
      }
      this.#acking = undefined;
    })();
  }

  #release(id: string): void {
    this.#held.delete(id);
    this.#ending--;
  }

  async #renew(): Promise<void> {
    const ids = [...this.#held.keys()];
    for (let i = 0; i < ids.length; i += MOST)
      await this.options.stream.renew(ids.slice(i, i + MOST));
  }

  async #claim(): Promise<void> {
    const { stream, leaseDuration } = this.options;
    if (this.#stopped || this.#held.size >= MOST_HELD) return;
    // Also where there is no room: new events would take every place that gets free.
    const room = Math.max(1, Math.min(this.#free, MOST));
    const entries = await stream.claim(leaseDuration, room);
    for (const entry of entries) this.#take(entry);
  }

  /** The finishing of an entry sees to their number; age, and a limit that was lowered, are seen to here. */
  async #dropLetters(): Promise<void> {
    const { stream, dropped } = this.options;
    for (let count = MOST; count === MOST && !this.#stopped;) {
      count = await stream.dropLetters();
      dropped.add(count);
    }
  }

  /** A retry that was just put aside is due after so many ms. */
  #promoteAfter(ms: number): void {
    // The instance that leads finds later ones in time.
    if (ms >= PROMOTION) return;
    this.#promotion.within(ms + 1);
    this.#promotesUntil = Math.max(
      this.#promotesUntil,
      performance.now() + ms + PROMOTION_SLACK_MS,
    );
  }

  /**
   * The timer knows only the soonest of this instance's retries: Redis tells when the next one is
   * due. Whoever leads goes on for the whole group, any other instance until its own are promoted.
   */
  async #promote(): Promise<void> {
    const { stream, leads } = this.options;
    const next = await stream.promote(MOST);
    if (next === undefined || next >= PROMOTION) return;
    if (leads() || performance.now() < this.#promotesUntil)
      this.#promotion.within(next + 1);
  }

  /** Repeats a command until Redis took it, or the module is closed: then the entry's lease runs out. */
  async #untilDone(command: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await command();
        return;
      } catch (error) {
        if (isClosed(error)) return;
        this.options.log.debug(`Ending events failed: ${reasonOf(error)}`);
        await new Promise((resolve) => setTimeout(resolve, AGAIN));
      }
    }
  }

  /** Runs one after the other, never twice at once. */
  #every(ms: number, work: () => Promise<void>): void {
    let busy = false;
    const timer = setInterval(() => {
      if (busy) return;
      busy = true;
      void this.#guarded(work).finally(() => (busy = false));
    }, ms);
    this.#timers.add(timer.unref());
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    const began = performance.now();
    try {
      await work();
    } catch (error) {
      const took = Math.round(performance.now() - began);
      this.options.log.debug(
        `The group's housekeeping failed after ${took} ms: ${reasonOf(error)}`,
      );
    }
  }
}

const isClosed = (error: unknown): boolean =>
  error instanceof RedisExpiryError && error.code === 'CLOSED';
