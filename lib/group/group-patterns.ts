import type { SubscriptionRegistry } from '../listening/subscription-registry.js';
import { type Interest, interestOf } from '../listening/interests.js';
import type { KnownHandler } from './own-handlers.js';

/** What listens for the patterns of a whole group, where this instance leads. */
export interface GroupListener {
  readonly leads: boolean;
  /** The patterns to listen for. */
  readonly registry: Pick<SubscriptionRegistry, 'add' | 'remove'>;
  /** Takes up what `registry` holds now. Never rejects. */
  refresh(): Promise<void>;
  /** Resolves when every node is listened to; rejects when that cannot be. */
  listening(): Promise<void>;
}

/** What tells a pattern of expiries, or of warnings, from another one. */
export const nameOfPattern = ({ glob, before = 0 }: KnownHandler): string =>
  `${before} ${glob.pattern}`;

/**
 * Whoever leads a group listens for the patterns of all its instances, as these may differ: during a
 * deploy they do. So every instance has the others' patterns ready in its listener's registry; and the one
 * that leads tells the others what it listens for, as a new pattern may count as served only then.
 */
export class GroupPatterns {
  /** What of other instances is in the listener's registry, by `nameOfPattern`. */
  readonly #interests = new Map<string, Interest>();
  #listening = '';
  #isConfirming = false;

  constructor(private readonly listener: GroupListener) {}

  /** What this instance listens for, as it was told to `confirm`; '' where it does not lead. */
  get listening(): string {
    return this.listener.leads ? this.#listening : '';
  }

  get leads(): boolean {
    return this.listener.leads;
  }

  /** These are the handlers of other instances now. */
  take(handlers: Iterable<KnownHandler>): void {
    const { registry } = this.listener;
    const foreign = new Map(
      [...handlers].map((each) => [nameOfPattern(each), each]),
    );
    let isChanged = false;
    for (const [name, interest] of this.#interests) {
      if (foreign.delete(name)) continue;
      registry.remove(interest);
      this.#interests.delete(name);
      isChanged = true;
    }
    for (const [name, { glob, before }] of foreign) {
      // Events come by the stream: all that the listener needs is the pattern.
      const interest = interestOf(glob.pattern, before, () => undefined);
      registry.add(interest);
      this.#interests.set(name, interest);
      isChanged = true;
    }
    if (isChanged) void this.listener.refresh();
  }

  /**
   * Where this instance leads: resolves once all patterns are listened for that are there now, which is
   * `listening` from then on, under the given name. Resolves with whether that is news; rejects where a
   * pattern cannot be listened for.
   */
  async confirm(name: string): Promise<boolean> {
    if (!this.listener.leads) this.#listening = '';
    if (this.#isConfirming || !this.leads || this.#listening === name)
      return false;
    this.#isConfirming = true;
    try {
      await this.listener.refresh();
      await this.listener.listening();
    } finally {
      this.#isConfirming = false;
    }
    this.#listening = name;
    return true;
  }
}
