import { setTimeout as delay } from 'node:timers/promises';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { Grant, Places } from '../dispatch/places.js';
import { Pause } from '../util/pause.js';
import { within } from '../util/within.js';
import { type DeliveryContext, deliver, routeFor } from './delivery.js';
import type { Backlog } from './backlog.js';
import { Housekeeping, type HousekeepingOptions } from './housekeeping.js';
import type { Entry, Wait } from './stream-entry.js';

export interface ConsumerOptions extends HousekeepingOptions {
  readonly context: DeliveryContext;
  /** The places for events, which it shares with all other consumers of this instance. */
  readonly places: Places;
  readonly counters: ExpiryCounters;
}

/** Before what failed for want of a connection is tried again. */
const RETRY_DELAY_MS = 100;
/** After which it looks for room or events again. */
const LOOK_AGAIN_MS = 20;
/** For which shutdown waits for Redis to take what has ended. */
const LAST_WORDS_MS = 2_000;
/** Events that one step moves or reads at most. */
const MOST = 1_000;
/** Events that it holds at most, those included that are over and being ended; of others, `MOST`. */
const MOST_HELD = 4 * MOST;

/**
 * Takes the events of a group's partition, has them handled, and ends them.
 *
 * States: new → `start` → taking → `stop` → finishing what it took → done.
 *
 * Guarantees: it takes no more than can be run at once, together with all consumers that share its places; an entry is ended only after its handlers
 * have; until then it is renewed, and what this instance leaves behind is taken over by another
 * after `leaseDuration`.
 */
export class Consumer {
  readonly #held = new Map<string, Entry>();
  /** Entries of which it is not known yet who has a handler for them. */
  readonly #deciding = new Set<Promise<unknown>>();
  readonly #finishing = new Set<Promise<void>>();
  /** How many of them are over and being ended. */
  #ending = 0;
  #acks: string[] = [];
  #acking: Promise<void> | undefined;
  readonly #abort = new AbortController();
  #reading: Promise<void> | undefined;
  /** The answer to a read was lost, and with it what Redis gave. */
  #hasLost = false;
  /** Waits for room, or for events. */
  readonly #pause = new Pause();
  readonly #housekeeping: Housekeeping;

  constructor(private readonly options: ConsumerOptions) {
    this.#housekeeping = new Housekeeping(options);
  }

  /** What there is to do, as of some seconds ago. */
  get backlog(): Backlog | undefined {
    return this.#housekeeping.backlog;
  }

  /** As of `Housekeeping`. */
  get leaderSeen(): Date {
    return this.#housekeeping.leaderSeen;
  }

  /** Rejects if the group's stream could not be made. */
  async start(): Promise<void> {
    const { stream, leaseDuration } = this.options;
    await stream.create();
    await this.#housekeeping.start();
    if (this.#stopped || this.#reading) return;
    this.#reading = this.#read();
    const every = (ms: number, work: () => Promise<void>): void =>
      this.#housekeeping.every(Math.max(10, ms), work);
    every(leaseDuration / 3, () => this.#renew());
    every(leaseDuration / 2, () => this.#claim());
  }

  /** Takes nothing more. Resolves when the read that is under way has ended. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#housekeeping.stopPromoting();
    this.#pause.end();
    // A read that was just begun may not wait yet: asked again until it has ended.
    const ending = setInterval(() => void this.options.stream.endRead(), 50);
    await this.options.stream.endRead();
    await this.#reading;
    clearInterval(ending);
  }

  /** After `stop`: resolves when everything that has ended is told to Redis. */
  async finish(): Promise<void> {
    this.#housekeeping.stop();
    await within(LAST_WORDS_MS, Promise.all(this.#deciding));
    // What ended a moment ago is still on its way to the list.
    await new Promise((resolve) => setImmediate(resolve));
    await within(
      LAST_WORDS_MS,
      Promise.all([this.#acking, ...this.#finishing]),
    );
  }

  get #stopped(): boolean {
    return this.#abort.signal.aborted;
  }

  async #read(): Promise<void> {
    const { places } = this.options;
    const leave = places.join();
    /** The last answer was as long as it could be: there is more. */
    let isFull = false;
    while (!this.#stopped) {
      const room = Math.min(
        MOST - (this.#held.size - this.#ending),
        MOST_HELD - this.#held.size,
      );
      if (room <= 0) {
        await this.#pause.wait(LOOK_AGAIN_MS);
        continue;
      }
      const grant = await places.take({
        most: room,
        isEager: isFull,
        signal: this.#abort.signal,
      });
      if (!grant) break;
      const count = await this.#readFor(grant);
      if (count === undefined) break;
      // Without leave to wait at Redis it waits here.
      if (count === 0 && !isFull && !grant.mayWait)
        await this.#pause.wait(LOOK_AGAIN_MS);
      isFull = count === grant.places;
    }
    leave();
  }

  /** Resolves with how many events there were; with undefined when the connection was closed for good. */
  async #readFor(grant: Grant): Promise<number | undefined> {
    const { stream, places, log } = this.options;
    let used = 0;
    try {
      if (this.#hasLost) await this.#takeAgain();
      this.#hasLost = false;
      const entries = await stream.read(grant.places, grant);
      used = entries.length;
      for (const entry of entries) this.#take(entry);
      return used;
    } catch (error) {
      if (isClosed(error)) return undefined;
      this.#hasLost = true;
      log.debug(`Reading events failed: ${reasonOf(error)}`);
      await delay(RETRY_DELAY_MS);
      return 0;
    } finally {
      places.ended(grant, used);
    }
  }

  /** Takes what was given to this instance and never came; what it had is being ended, or was by now. */
  async #takeAgain(): Promise<void> {
    const had = new Set(this.#held.keys());
    for (const entry of await this.options.stream.readAgain()) {
      if (had.has(entry.id)) continue;
      this.options.places.hold(1);
      this.#take(entry);
    }
  }

  /** A place is held for the entry. */
  #take(entry: Entry): void {
    if (this.#held.has(entry.id)) {
      this.options.places.release(1);
      return;
    }
    this.#held.set(entry.id, entry);
    void this.#handle(entry);
  }

  async #handle(entry: Entry): Promise<void> {
    const { context, counters, dropped, places, stream } = this.options;
    const deciding = routeFor(entry, context);
    this.#deciding.add(deciding);
    const route = await deciding;
    this.#deciding.delete(deciding);
    const delivering = deliver(entry, route, context, (waits) =>
      this.#promote(entry, waits),
    );
    // The dispatcher has it now, and counts it itself.
    places.release(1);
    const left = await delivering;
    this.#ending++;
    this.#pause.end();
    places.look();
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
    for (const retry of left.retries)
      this.#housekeeping.promoteAfter(retry.delay);
    this.#promote(entry, left.waits);
  }

  /** Sees to it that what waits in Redis for the grace of handlers is handed over in time. */
  #promote({ event }: Entry, waits: readonly Wait[]): void {
    for (const { due } of waits)
      this.#housekeeping.promoteAfter(due - event.detected);
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
    const { stream, leaseDuration, places } = this.options;
    if (this.#stopped || this.#held.size >= MOST_HELD) return;
    // A few are enough: an instance that died left as many as could be run, and this one is not alone.
    const grant = await places.take({
      most: MOST,
      isEager: false,
      signal: this.#abort.signal,
    });
    if (!grant) return;
    let used = 0;
    try {
      const entries = await stream.claim(leaseDuration, grant.places);
      used = entries.length;
      for (const entry of entries) this.#take(entry);
    } finally {
      places.ended(grant, used);
    }
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
        await delay(RETRY_DELAY_MS);
      }
    }
  }
}

const isClosed = (error: unknown): boolean =>
  error instanceof RedisExpiryError && error.code === 'CLOSED';
