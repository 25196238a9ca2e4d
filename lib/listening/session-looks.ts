import { SoonestTimer } from '../util/soonest-timer.js';

/** Between two looks at what is refused or deaf. */
const LOOK_INTERVAL_MS = 5_000;
/** Looks between two checks of the flags where all is well. */
const LOOKS_PER_CHECK = 3;

/**
 * When the server of one session is looked at again: every 5 s while something is wrong, else every 15 s. The
 * session's `NodeListener` makes it, and says what a look is.
 *
 * States: new → `begin` → looking now and then → ended, by `end`, for good.
 *
 * Guarantees: one timer. A look waits while there is no connection for commands, and no other one waits behind it.
 */
export class SessionLooks {
  /**
   * The first look checks the flags: another instance that completed them at the same moment, as after a
   * restart, may have undone what this one wrote.
   */
  #count = LOOKS_PER_CHECK - 1;
  readonly #timer = new SoonestTimer(() => this.#next());

  constructor(
    private readonly isWell: () => boolean,
    /** Must not reject. */
    private readonly look: () => Promise<void>,
  ) {}

  begin(): void {
    this.#timer.within(LOOK_INTERVAL_MS);
  }

  end(): void {
    this.#timer.stop();
  }

  async #next(): Promise<void> {
    this.#timer.within(LOOK_INTERVAL_MS);
    if (++this.#count % LOOKS_PER_CHECK === 0 || !this.isWell())
      await this.look();
  }
}
