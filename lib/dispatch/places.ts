import { Fifo } from '../util/fifo.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import type { Dispatcher } from './dispatcher.js';

/** Ms between two looks for places that got free unnoticed, as those of broadcast's handlers do. */
const LOOK_INTERVAL_MS = 20;

/** Places that were given to a reader of events. */
export interface Grant {
  readonly places: number;
  /** The reader may wait at Redis for events, and keep these places meanwhile. */
  readonly mayWait: boolean;
}

/** What a reader asks for. */
export interface PlacesWanted {
  /** Places that it has a use for. */
  readonly most: number;
  /** The answer to its last read was full: there is more, and it does not have to wait for that. */
  readonly isEager: boolean;
  /** Aborted when it needs none any more. */
  readonly signal: AbortSignal;
}

interface Request extends PlacesWanted {
  readonly grant: (grant: Grant | undefined) => void;
  isGone: boolean;
}

/**
 * The places of one instance in which handlers can run, shared by all who read events for them: one
 * reader for each partition of each group. Whoever asks Redis for events holds a place for each that it may get,
 * until the dispatcher has the event. So the readers of an instance never take more than can be run together.
 *
 * A reader that waits at Redis keeps places from the others though nothing comes. So those that wait hold half
 * of the places together at most. A reader whose last answer was full gets half of those that are free, or all
 * where it is the only one, but does not wait with them: however its node hangs, it holds up no other. Where
 * there are fewer than two places for each reader, only a reader without company waits: the others look again
 * and again.
 *
 * Guarantees: readers that find no place free get the next ones in the order in which they asked, so a
 * partition with much to do cannot keep another from its turn. There is one timer, while somebody waits.
 *
 * What can exceed the number of places: an event that several handlers get counts as one until the
 * dispatcher has it; what `hold` takes, as it is this instance's already.
 */
export class Places {
  #held = 0;
  /** Those of `#held` that are with readers that wait at Redis. */
  #idle = 0;
  #readers = 0;
  #waiting = new Fifo<Request>();
  readonly #timer = new SoonestTimer(() => this.look());

  constructor(private readonly dispatcher: Pick<Dispatcher, 'free'>) {}

  /** One more reader. Returns what takes it away. */
  join(): () => void {
    this.#readers++;
    let isOver = false;
    return () => {
      if (!isOver) this.#readers--;
      isOver = true;
    };
  }

  /**
   * Takes places, `most` at most, one at least; waits for them, if there are none. `ended` is to be called
   * with what it resolves with. Resolves with undefined when the signal is aborted.
   */
  take(wanted: PlacesWanted): Promise<Grant | undefined> {
    const { signal } = wanted;
    if (signal.aborted) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const end = (): void => {
        request.isGone = true;
        resolve(undefined);
      };
      const grant: Request['grant'] = (given) => {
        signal.removeEventListener('abort', end);
        resolve(given);
      };
      const request: Request = { ...wanted, grant, isGone: false };
      signal.addEventListener('abort', end, { once: true });
      this.#waiting.push(request);
      this.look();
    });
  }

  /** Takes places for events that this instance has already, whether there is room for them or not. */
  hold(count: number): void {
    this.#held += count;
  }

  /** Gives places back. */
  release(count: number): void {
    this.#held -= count;
    this.look();
  }

  /** A reader has its answer, and gives back what it did not use. Each event keeps one place, until `release`. */
  ended({ places, mayWait }: Grant, used: number): void {
    if (mayWait) this.#idle -= places;
    this.release(places - used);
  }

  /** Handlers may have ended: whoever waits gets what is free. */
  look(): void {
    for (;;) {
      const request = this.#waiting.first;
      if (!request) break;
      const free = this.dispatcher.free - this.#held;
      if (!request.isGone && free <= 0) break;
      this.#waiting.shift();
      if (!request.isGone) request.grant(this.#grant(request, free));
    }
    if (this.#waiting.size === 0) this.#timer.cancel();
    else this.#timer.within(LOOK_INTERVAL_MS);
  }

  #grant({ most, isEager }: Request, free: number): Grant {
    const isAlone = this.#readers <= 1;
    const half = Math.floor((free + this.#idle) / 2);
    const share = Math.floor(half / Math.max(1, this.#readers));
    const mayWait =
      !isEager && (isAlone || (share > 0 && this.#idle + share <= half));
    let part = isAlone ? free : Math.ceil(free / 2);
    if (mayWait) part = Math.max(1, share);
    const places = Math.min(most, free, part);
    this.#held += places;
    if (mayWait) this.#idle += places;
    return { places, mayWait };
  }
}
