import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { WarningBook } from '../deadlines/warning-book.js';
import type { WarnedNode } from '../deadlines/warning-watch.js';
import type { ValueOptions, ValueWishes } from '../deadlines/value-reader.js';
import { WarningValues } from '../deadlines/warning-values.js';
import { type WarnedPatterns, Warnings } from '../deadlines/warnings.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { RedisNode } from '../topology/redis-node.js';
import { Forwarder } from './forwarder.js';
import type { ForwardingTerm } from './forwarding-term.js';
import { type GroupKeys, warningKeys } from './group-keys.js';
import type { Destinations } from './key-finder.js';
import { StoredWarnings, type WarningTerm } from './stored-warnings.js';

/** The leader's term in which keys are warned of, as `GroupWarnings` sees it. */
export interface GroupWarningTerm
  extends
    Omit<WarningTerm, 'clock' | 'values' | 'registry'>,
    Pick<ForwardingTerm, 'log'> {
  readonly registry: WarnedPatterns & {
    readonly warnings: { valuesFor(before: number): ValueWishes };
  };
  readonly counters: ExpiryCounters;
  /** The option `values`. */
  readonly options: ValueOptions;
  readonly during: ForwardingTerm['commands'];
  /** On a Cluster: where keys are that are elsewhere. */
  readonly destinations: Destinations | undefined;
}

/**
 * The warnings of one node's keys in a group: on a Cluster, entries of keys that another node serves are brought to
 * the partition of that node. `GroupNode` has it.
 *
 * States: paused (at first) ⇄ running → closed, by `close`.
 */
export class GroupWarnings {
  readonly #warnings: Warnings;
  /** On a Cluster, those of its books that are open. */
  readonly #forwarders = new Set<Forwarder>();
  #isRunning = false;

  /** @param watched the node, once keys of it are looked at */
  constructor(
    private readonly term: GroupWarningTerm,
    private readonly node: RedisNode,
    private readonly watched: () => WarnedNode,
  ) {
    this.#warnings = new Warnings(
      term.registry,
      (before) => this.#open(before),
      watched,
    );
  }

  learn(entries: readonly DeadlineEntry[]): Promise<void> {
    return this.#warnings.learn(entries);
  }

  resume(): void {
    this.#isRunning = true;
    this.#warnings.resume();
    for (const forwarder of this.#forwarders) forwarder.start();
    void this.#resumeStored();
  }

  pause(): void {
    this.#isRunning = false;
    this.#warnings.pause();
  }

  /** Redis's clock goes otherwise than it was taken to. */
  retime(): void {
    this.#warnings.retime();
  }

  /** For good. */
  close(): void {
    this.pause();
    for (const forwarder of this.#forwarders) forwarder.stop();
  }

  /** Those of which the partition knows something, though nobody may ask for them any more. */
  async #resumeStored(): Promise<void> {
    const { befores } = this.term.keys;
    try {
      const stored = await this.term.commands.runNow((redis) =>
        redis.zrange(befores, '0', '-1'),
      );
      if (this.#isRunning) this.#warnings.resume(stored.map(Number));
    } catch (error) {
      // What nobody asks for can wait until the next term.
      this.watched().report(error);
    }
  }

  #open(before: number): WarningBook {
    const { clock } = this.watched();
    const { term } = this;
    const { destinations } = term;
    const forwarder =
      destinations &&
      forwarderOfWarnings(
        before,
        {
          ...{ token: term.token, keys: term.keys, clock, log: term.log },
          commands: term.during,
          due: (soonest) => this.#warnings.nudge(before, soonest),
        },
        this.node,
        destinations,
      );
    if (forwarder) {
      this.#forwarders.add(forwarder);
      if (this.#isRunning) forwarder.start();
    }
    const { commands, counters, options, log, registry } = term;
    const values = new WarningValues(before, {
      ...{ commands, clock, counters, options, log },
      wishes: registry.warnings.valuesFor(before),
    });
    return new StoredWarnings(
      before,
      { ...term, clock, values },
      forwarder && {
        nudge: () => forwarder.nudge(),
        stop: () => {
          forwarder.stop();
          this.#forwarders.delete(forwarder);
        },
      },
    );
  }
}

/** Brings entries of `ahead` to where their keys are, as `Forwarder` does with those of the index. */
export function forwarderOfWarnings(
  before: number,
  term: ForwardingTerm,
  node: RedisNode,
  destinations: Destinations,
  isDrained = false,
): Forwarder {
  const keysOf = (warnings: string): Pick<GroupKeys, 'index' | 'away'> => {
    const { ahead, away } = warningKeys(warnings, before);
    return { index: ahead, away };
  };
  const keys = { ...term.keys, ...keysOf(term.keys.warnings) };
  return new Forwarder(
    { ...term, keys },
    node,
    {
      ...destinations,
      indexOf: (at) => {
        const there = destinations.indexOf(at);
        return there && { ...there, ...keysOf(there.warnings), before };
      },
    },
    isDrained,
  );
}
