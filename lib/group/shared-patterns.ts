import type { Commands } from '../connection/commands.js';
import { RedisGlob } from '../handlers/redis-glob.js';
import type {
  Interest,
  SubscriptionRegistry,
} from '../keyspace/subscription-registry.js';
import type { GroupKeys } from './group-keys.js';
import { NOTE_PATTERNS } from './scripts/patterns.lua.js';

/** Ms between two notes, and for which a pattern counts that nobody notes any more. */
const INTERVAL = 2_000;
const LIFETIME = 60_000;

/**
 * Whoever watches for a group watches the patterns of all its instances: during a deploy they
 * differ. Every instance notes its own patterns in Redis, again and again, and the registry has the
 * others' beside them.
 */
export class SharedPatterns {
  readonly #foreign = new Map<
    string,
    { interest: Interest; glob: RedisGlob }
  >();
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly commands: Commands,
    private readonly keys: GroupKeys,
    private readonly registry: SubscriptionRegistry,
    private readonly own: () => ReadonlySet<string>,
    /** The registry has others' patterns, or has lost some. */
    private readonly onChange: () => void,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** Notes the patterns, and goes on until `close`. Resolves when it is noted for the first time. */
  async start(): Promise<void> {
    this.#timer ??= setInterval(() => {
      this.note().catch(this.onError);
    }, INTERVAL).unref();
    await this.note();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Notes the patterns now. Resolves with whether some were new to the group. */
  async note(): Promise<boolean> {
    const own = this.own();
    const [added, ...all] = (await this.commands.run((redis) =>
      NOTE_PATTERNS.run(redis, [this.keys.patterns], LIFETIME, ...own),
    )) as [number, ...string[]];
    this.#take(new Set(all.filter((pattern) => !own.has(pattern))));
    return added > 0;
  }

  /** Whether some other instance has a handler for the key, without its `keyPrefix`. */
  wantedElsewhere(key: Buffer): boolean {
    for (const { glob } of this.#foreign.values())
      if (glob.test(key)) return true;
    return false;
  }

  /** Resolves when whoever watches must have taken note. */
  async untilNoticed(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, INTERVAL * 1.25));
  }

  #take(foreign: ReadonlySet<string>): void {
    let changed = false;
    for (const [pattern, { interest }] of this.#foreign) {
      if (foreign.has(pattern)) continue;
      this.registry.remove(interest);
      this.#foreign.delete(pattern);
      changed = true;
    }
    for (const pattern of foreign) {
      if (this.#foreign.has(pattern)) continue;
      const interest: Interest = { pattern, onExpiry: () => undefined };
      this.registry.add(interest);
      this.#foreign.set(pattern, { interest, glob: new RedisGlob(pattern) });
      changed = true;
    }
    if (changed) this.onChange();
  }
}
