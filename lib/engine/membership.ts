import type { ConsumerGroup } from '../group/consumer-group.js';
import type { Dispatcher } from '../dispatch/dispatcher.js';
import type { ExpiryHandler } from '../dispatch/expiry.js';
import type { ExpirySubscription } from './status.js';
import { type Startable, Startup, type StartupOptions } from './startup.js';

/**
 * This instance's part in one consumer group: starts the group with its first handler, and ends it
 * where its start fails or its first handler is refused, unless the application itself needs it.
 *
 * States: joined → left (`left` is set then, and resolves when nothing is left behind). A membership
 * that was left is not used again: the next handler gets another one.
 */
export class Membership implements Startable {
  /** Set once it is being ended. */
  left: Promise<void> | undefined;
  readonly #startup: Startup;

  constructor(
    readonly group: ConsumerGroup,
    private readonly dispatcher: Dispatcher,
    options: StartupOptions,
    /** It was ended, and nothing is left behind. */
    private readonly onLeft: () => void,
  ) {
    this.#startup = new Startup(this, options);
  }

  /** What keeps the group from working, in words. */
  get reasons(): string[] {
    return this.group.reasons;
  }

  /**
   * Runs the application's own handlers from now on. Resolves when the group works and their patterns
   * are listened for; with `lazyConnect` at once. See `Startup.keep`.
   */
  keep(handlers: readonly ExpiryHandler[]): Promise<void> {
    const added = handlers.map((handler) => this.group.add(handler));
    return this.#startup.keep(async () => {
      await Promise.all(added);
      await Promise.all(handlers.map((handler) => this.group.served(handler)));
    });
  }

  /** Runs a handler from now on. Resolves when the group works and its pattern is listened for. */
  async handle(handler: ExpiryHandler): Promise<ExpirySubscription> {
    const { group } = this;
    try {
      // Both begin now: a start tells the group of all patterns that there are.
      await Promise.all([group.add(handler), this.#startup.run()]);
      await group.served(handler);
    } catch (error) {
      this.dispatcher.remove(handler);
      await group.remove(handler);
      if (group.isEmpty) await this.#startup.release();
      throw error;
    }
    let ended: Promise<void> | undefined;
    return {
      pattern: handler.glob.pattern,
      unsubscribe: () => {
        this.dispatcher.remove(handler);
        return (ended ??= group.remove(handler));
      },
    };
  }

  /** Resolves when the group works and, if this instance leads, the first scan is done. */
  async ready(): Promise<void> {
    await this.#startup.run();
    await this.group.ready();
  }

  /** For `Startup`: see `ConsumerGroup.start`. */
  start(): Promise<void> {
    return this.group.start();
  }

  /** For `Startup`: ends the group in this instance. */
  undo(): Promise<void> {
    this.left ??= this.group.end().then(this.onLeft);
    return this.left;
  }

  /** Closes every connection of it. */
  close(): void {
    this.#startup.close();
    this.group.close();
  }
}
