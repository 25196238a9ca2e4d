import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { ValueMemory } from '../deadlines/value-memory.js';
import {
  type SharedIndex,
  type ValueParts,
  ValueReader,
} from '../deadlines/value-reader.js';
import { type AheadTerm, LookAhead } from './look-ahead.js';
import type { NodeTerm } from './node-term.js';

/** The leader's term in which values are read. */
export interface ValuedTerm extends AheadTerm {
  /** The deadlines of keys that were renewed. */
  learn(entries: readonly DeadlineEntry[]): Promise<void>;
}

/**
 * Reads the values of a group's keys a moment before they run out, for handlers that ask for them, and moves the looks
 * at those that were renewed. `GroupNode` has one; SWEEP is given what it reads.
 *
 * States: paused (at first) ⇄ running, where somebody asks for values. Paused it remembers nothing: what happens
 * unheard may be the end of one life and the beginning of another one.
 */
export class ValueLooks {
  readonly #ahead: LookAhead;
  readonly #reader: ValueReader;
  #isWatching = false;

  constructor(
    private readonly memory: ValueMemory,
    private readonly term: ValuedTerm,
    private readonly parts: ValueParts,
    shared: SharedIndex,
  ) {
    this.#reader = new ValueReader(memory, parts, shared);
    this.#ahead = new LookAhead(term, parts.options.lead, (entries) =>
      this.#look(entries),
    );
  }

  /** The node is watched from now on. */
  resume(): void {
    this.#isWatching = true;
    this.update();
  }

  /** Nothing is heard any more. */
  pause(): void {
    this.#isWatching = false;
    this.#ahead.pause();
    this.memory.clear();
  }

  /** Other patterns are listened for, or other values asked for. */
  update(): void {
    if (!this.#isWatching) return;
    if (this.parts.wishes.kinds === undefined) this.#ahead.pause();
    else this.#ahead.resume();
  }

  /** As of `LookAhead`. */
  retime(ms: number): void {
    this.#ahead.retime(ms);
  }

  /** There is an entry due at `at`: perhaps so soon that its value should have been read by now. */
  nudge(at: number): void {
    this.#ahead.goBack(at);
  }

  async #look(entries: readonly DeadlineEntry[]): Promise<void> {
    const now = this.term.clock.now();
    const asked = entries.filter(
      ({ key, at }) =>
        at >= now &&
        this.#reader.wants(key) &&
        !this.memory.knows(key.toString('latin1'), at),
    );
    const found = await this.#reader.look(asked);
    const renewed: DeadlineEntry[] = [];
    asked.forEach(({ key, at }, i) => {
      const { deadline, isDying } = found[i]!;
      // By Redis's own clock it was too early.
      if (!isDying && deadline === at) this.#ahead.goBack(at);
      // Renewed by so little that the cursor may have passed its new place.
      else if (deadline >= 0 && deadline !== at) {
        this.#ahead.goBack(deadline);
        renewed.push({ key, at: deadline });
      }
    });
    await this.term.learn(renewed);
  }
}

/** The node whose values are read, as they are made for it. `GroupNode` is one. */
interface ValuedNode extends Pick<AheadTerm, 'clock' | 'report'> {
  readonly commands: ValueParts['commands'];
  readonly values: ValueMemory;
}

/** Those of a node in a leader's term. */
export function valueLooksOf(
  node: ValuedNode,
  term: NodeTerm,
  warnings: Pick<ValuedTerm, 'learn'>,
): ValueLooks {
  const { token, keys, registry, counters, log, index } = term;
  const { commands, clock, values } = node;
  return new ValueLooks(
    values,
    {
      ...{ index, clock },
      learn: (entries) => warnings.learn(entries),
      report: (error) => node.report(error),
    },
    {
      ...{ commands, clock, counters, log },
      ...{ wishes: registry.values, options: term.values },
    },
    { index: keys.index, lease: keys.lease, token },
  );
}
