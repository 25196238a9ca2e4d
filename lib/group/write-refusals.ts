import type { Commands } from '../connection/commands.js';
import { isWriteRefused } from '../connection/server-error.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';

/** Ms without a refusal after which the server counts as taking writes again. */
const QUIET_MS = 2_000;

/**
 * Tells the operator that the server refuses what a group has to write: it has too few replicas
 * (NOREPLICAS), cannot save to disk (MISCONF), or is out of memory (OOM). Whoever was refused asks
 * again by itself, at least twice a second; this class only sees it.
 *
 * States:
 * - accepted (at first): nothing is said.
 * - refused, from the first refusal on: a warning is logged, and `lastError` holds what the server says.
 *   Two seconds without another refusal end it, which is logged, too.
 *
 * Guarantees: one warning for each episode, however many commands are refused; one timer.
 */
export class WriteRefusals {
  #lastError: string | undefined;
  #end: NodeJS.Timeout | undefined;

  constructor(
    private readonly group: string,
    private readonly log: Log,
  ) {}

  /** What the server says, while it refuses writes. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The same connection; what is refused over it is noticed. */
  watch(commands: Commands): Commands {
    const watched = async <T>(reply: Promise<T>): Promise<T> => {
      try {
        return await reply;
      } catch (error) {
        if (isWriteRefused(error)) this.#refused(reasonOf(error));
        throw error;
      }
    };
    return {
      get connected() {
        return commands.connected;
      },
      run: (work) => watched(commands.run(work)),
      runNow: (work) => watched(commands.runNow(work)),
    };
  }

  close(): void {
    clearTimeout(this.#end);
  }

  #refused(reason: string): void {
    if (this.#lastError === undefined) {
      this.log.warn(
        `Redis refuses the writes of group "${this.group}" (${reason}). Until it takes them again, no expiry of the group is ` +
          'handled; none is lost, and all of them come late. Give the server what it asks for: replicas, memory or disk space',
      );
    }
    this.#lastError = reason;
    if (this.#end) this.#end.refresh();
    else this.#end = setTimeout(() => this.#accepted(), QUIET_MS).unref();
  }

  #accepted(): void {
    this.#end = undefined;
    this.#lastError = undefined;
    this.log.warn(
      `Redis takes the writes of group "${this.group}" again: what expired meanwhile is handled now`,
    );
  }
}
