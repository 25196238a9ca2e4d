import type {
  Interest,
  SubscriptionRegistry,
} from '../listening/subscription-registry.js';

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

/**
 * Whoever leads a group listens for the patterns of all its instances, as these may differ: during a
 * deploy they do. So every instance has the others' patterns ready in its listener's registry; and the one
 * that leads tells the others what it listens for, as a new pattern may count as served only then.
 */
export class GroupPatterns {
  /** What of other instances is in the listener's registry, by pattern. */
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

  /** These are the patterns of other instances now. */
  take(patterns: Iterable<string>): void {
    const { registry } = this.listener;
    const foreign = new Set(patterns);
    let isChanged = false;
    for (const [pattern, interest] of this.#interests) {
      if (foreign.delete(pattern)) continue;
      registry.remove(interest);
      this.#interests.delete(pattern);
      isChanged = true;
    }
    for (const pattern of foreign) {
      // Events come by the stream: all that the listener needs is the pattern.
      const interest: Interest = { pattern, onExpiry: () => undefined };
      registry.add(interest);
      this.#interests.set(pattern, interest);
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
