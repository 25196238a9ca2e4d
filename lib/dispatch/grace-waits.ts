import type { Log } from '../util/log.js';
import { PROCESS_TIME, type Scheduler } from '../util/scheduler.js';
import { SlotHeap } from '../util/slot-heap.js';
import type { ExpiryCounters } from './counters.js';
import type { Dispatcher } from './dispatcher.js';
import type { Expiry, ExpiryHandler } from './expiry.js';
import type { Delivery } from './run-gate.js';

/** An expiry that waits for one handler. */
interface Waiting {
  readonly handler: ExpiryHandler;
  readonly expiry: Expiry;
  readonly delivery: Delivery | undefined;
  /** Its key, in latin1. */
  readonly text: string;
}

/**
 * Expiries that wait in this process until the `grace` of their handler is over. Broadcast has them wait here; a
 * group has them wait in Redis, and so this is the test kit's stand-in for that.
 *
 * States:
 * - *open* (at first): takes expiries, and offers each to the dispatcher when its grace is over. The dispatcher
 *   then looks whether the key is alive.
 * - *closed* (after `close`): what waited is dropped, and nothing is taken any more.
 *
 * Guarantees: of one key at most one expiry waits for each handler. The one that waited comes back, and goes, when
 * the key is created again (`returned`) or runs out again (`add`). All methods but `close` and `remove` are O(log n). There is one
 * timer, while something waits. Each expiry is counted once as received: by the dispatcher, or here if it ends here.
 */
export class GraceWaits {
  /** By slot. */
  readonly #waiting: (Waiting | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #heap = new SlotHeap();
  /** The slots of each key's expiries. */
  readonly #byKey = new Map<string, number[]>();
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;
  #isOverflowing = false;

  /** @param limit how many may wait at once; one more is dropped */
  constructor(
    private readonly dispatcher: Pick<Dispatcher, 'offer'>,
    private readonly limit: number,
    private readonly counters: ExpiryCounters,
    private readonly log: Log,
    private readonly time: Scheduler = PROCESS_TIME,
  ) {}

  /** How many wait. */
  get size(): number {
    return this.#heap.size;
  }

  /** Has an expiry wait for as long as is left of the grace of its handler, which has one. It may be over already. */
  add(handler: ExpiryHandler, expiry: Expiry, delivery?: Delivery): void {
    const text = expiry.redisKey.toString('latin1');
    const before = this.#byKey
      .get(text)
      ?.find((slot) => this.#waiting[slot]!.handler === handler);
    if (before !== undefined) this.#end(before, 'cameBack');
    const waiting = { handler, expiry, delivery, text };
    if (this.#isClosed || this.size >= this.limit) {
      this.#overflow();
      this.#count(waiting, 'dropped');
      return;
    }
    const left = handler.grace! - (expiry.lateness ?? 0);
    if (left <= 0) this.#offer(waiting);
    else this.#put(waiting, this.time.now + left);
  }

  /** A key was created: whatever waits of it came back in time. */
  returned(redisKey: Buffer): void {
    // The common case: spares the key's text.
    if (this.size === 0) return;
    const slots = this.#byKey.get(redisKey.toString('latin1'));
    for (const slot of slots ? [...slots] : []) this.#end(slot, 'cameBack');
  }

  /** Forgets a handler; what waits for it is dropped. */
  remove(handler: ExpiryHandler): void {
    this.#waiting.forEach((waiting, slot) => {
      if (waiting?.handler === handler) this.#end(slot, 'dropped');
    });
  }

  /** Drops all that waits, for good. */
  close(): void {
    this.#isClosed = true;
    const count = this.size;
    this.#waiting.forEach((waiting, slot) => {
      if (waiting) this.#end(slot, 'dropped');
    });
    if (count > 0)
      this.log.warn(
        `Shutdown dropped ${count} event(s) of broadcast that waited for the grace of their handler: ` +
          'they waited in this process. In a group they wait in Redis',
      );
  }

  #put(waiting: Waiting, due: number): void {
    const slot = this.#free.pop() ?? this.#waiting.length;
    this.#waiting[slot] = waiting;
    const slots = this.#byKey.get(waiting.text);
    if (slots) slots.push(slot);
    else this.#byKey.set(waiting.text, [slot]);
    this.#heap.set(slot, due);
    if (this.#heap.first === slot) this.#arm();
  }

  #take(slot: number): Waiting {
    const waiting = this.#waiting[slot]!;
    this.#waiting[slot] = undefined;
    this.#free.push(slot);
    this.#heap.remove(slot);
    const left = this.#byKey.get(waiting.text)!.filter((s) => s !== slot);
    if (left.length > 0) this.#byKey.set(waiting.text, left);
    else this.#byKey.delete(waiting.text);
    if (this.size === 0) this.#disarm();
    return waiting;
  }

  #end(slot: number, outcome: 'cameBack' | 'dropped'): void {
    this.#count(this.#take(slot), outcome);
  }

  #count({ delivery }: Waiting, outcome: 'cameBack' | 'dropped'): void {
    this.counters.received++;
    this.counters[outcome]++;
    delivery?.ended(outcome);
  }

  #offer({ handler, expiry, delivery }: Waiting): void {
    const over: Expiry = { ...expiry, isAfterGrace: true };
    this.dispatcher.offer(handler, over, delivery);
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #arm(): void {
    this.#disarm();
    const { first } = this.#heap;
    if (first === undefined) return;
    const left = this.#heap.timeOf(first) - this.time.now;
    this.#cancelTimer = this.time.after(Math.max(0, Math.ceil(left)), () => {
      this.#cancelTimer = undefined;
      this.#offerDue();
    });
  }

  #offerDue(): void {
    const { now } = this.time;
    for (
      let { first } = this.#heap;
      first !== undefined;
      { first } = this.#heap
    ) {
      if (this.#heap.timeOf(first) > now) break;
      this.#offer(this.#take(first));
    }
    if (this.#isOverflowing && this.size < this.limit / 2)
      this.#isOverflowing = false;
    this.#arm();
  }

  #overflow(): void {
    if (this.#isClosed || this.#isOverflowing) return;
    this.#isOverflowing = true;
    this.log.error(
      `${this.limit} expiries wait for the grace of their handlers (queueLimit): more are being dropped. ` +
        'status().counters.dropped counts what is lost',
    );
  }
}
