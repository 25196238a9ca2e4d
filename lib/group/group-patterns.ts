import { type ValueKinds, allKinds } from '../dispatch/event-value.js';
import type { SubscriptionRegistry } from '../listening/subscription-registry.js';
import { type Interest, interestOf } from '../listening/interests.js';
import type { Graces } from './graces.js';
import type { KnownHandler } from './own-handlers.js';

/** What listens for the patterns of a whole group, where this instance leads. */
export interface GroupListener {
  readonly leads: boolean;
  /** The patterns to listen for. */
  readonly registry: Pick<SubscriptionRegistry, 'add' | 'remove'>;
  /** For which keys some handler has a grace. */
  readonly graces: Pick<Graces, 'take'>;
  /** Takes up what `registry` holds now. Never rejects. */
  refresh(): Promise<void>;
  /** Resolves when every node is listened to; rejects when that cannot be. */
  listening(): Promise<void>;
}

/** What tells a pattern of expiries, or of warnings, from another one. */
export const nameOfPattern = ({ glob, before = 0 }: KnownHandler): string =>
  `${before} ${glob.pattern}`;

/** A pattern of other instances. */
interface Foreign {
  readonly interest: Interest;
  /** In which types of keys the values are asked for. */
  readonly values: ValueKinds | undefined;
}

/** Handlers that are alike in their pattern as one, that asks for all that they ask for. */
function byPattern(
  handlers: Iterable<KnownHandler>,
): Map<string, KnownHandler> {
  const all = new Map<string, KnownHandler>();
  for (const each of handlers) {
    const name = nameOfPattern(each);
    const values = allKinds([all.get(name)?.values, each.values]);
    all.set(name, { ...each, values });
  }
  return all;
}

/**
 * Whoever leads a group listens for the patterns of all its instances, as these may differ: during a
 * deploy they do. So every instance has the others' patterns ready in its listener's registry; and the one
 * that leads tells the others what it listens for, as a new pattern may count as served only then.
 */
export class GroupPatterns {
  /** What of other instances is in the listener's registry, by `nameOfPattern`. */
  readonly #interests = new Map<string, Foreign>();
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
  take(handlers: readonly KnownHandler[]): void {
    const { registry, graces } = this.listener;
    graces.take(handlers);
    const gone = new Map(this.#interests);
    let isChanged = false;
    for (const [name, { glob, before, values }] of byPattern(handlers)) {
      const known = gone.get(name);
      gone.delete(name);
      if (known && known.values === values) continue;
      // Events come by the stream: all that the listener needs is the pattern.
      const interest = interestOf(
        ...([glob.pattern, before, () => undefined, values] as const),
      );
      registry.add(interest);
      // After the new one: the pattern lives on.
      if (known) registry.remove(known.interest);
      this.#interests.set(name, { interest, values });
      isChanged = true;
    }
    for (const [name, { interest }] of gone) {
      registry.remove(interest);
      this.#interests.delete(name);
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
