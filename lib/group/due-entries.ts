import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { within } from '../util/within.js';
import { EntryCursor } from './entry-cursor.js';
import type { RedisIndex } from './redis-index.js';
import type { GroupNode } from './group-node.js';

/** Ms within which a node must have looked at its keys, before the others go on without it. */
const PATIENCE = 500;
/** Ms for which a node is left alone whose look failed. */
const AGAIN = 100;

export interface DueEntriesOptions {
  /** The node that serves a key; undefined where none does. */
  readonly nodeOf: (key: Buffer) => GroupNode | undefined;
  /** There is one node only: nobody waits for it but its own keys. */
  readonly alone: boolean;
  /** A node that was passed over may be looked at again. */
  readonly onReturn: () => void;
  readonly onError: (error: unknown) => void;
}

/**
 * The entries of a group's index that are due, each judged by the node that serves its key. Entries
 * of nodes that are not watched, or do not answer, stay where they are and hold up no others.
 */
export class DueEntries {
  readonly #cursor: EntryCursor;
  /** Nodes that do not answer, and the oldest deadline that waits for it. */
  readonly #stuck = new Map<GroupNode, number>();
  /** The newest look passed entries over. */
  #passing = false;
  /** The oldest deadline of those that were passed over since it began anew; kept until it has looked again. */
  #oldest = Infinity;
  #anew = false;
  /** Changes whenever other entries may be looked at than before. */
  #version = 0;
  #idleVersion = -1;

  constructor(
    private readonly index: RedisIndex,
    private readonly options: DueEntriesOptions,
  ) {
    this.#cursor = new EntryCursor(index);
  }

  /** The oldest deadline that waits for a node; undefined if none does. */
  get heldUp(): number | undefined {
    const oldest = Math.min(this.#oldest, ...this.#stuck.values());
    return oldest === Infinity ? undefined : oldest;
  }

  /** Whether nothing of the node was due at the newest look, which found nothing that is. */
  isIdle(node: GroupNode): boolean {
    return (
      this.#idleVersion === this.#version &&
      node.watched &&
      !this.#stuck.has(node)
    );
  }

  /** Entries that were passed over may be looked at now. */
  restart(): void {
    this.#passing = false;
    this.#version++;
    this.#anew = true;
    this.#cursor.restart();
  }

  /** There is an entry due at `at`, which may be behind the cursor. */
  brought(at: number): void {
    if (!this.#passing || at > this.#cursor.from) return;
    this.#version++;
    this.#cursor.restart();
  }

  /** As `DeadlineIndex.peek`, of entries that can be looked at. */
  async peek(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }> {
    for (;;) {
      const version = this.#version;
      const found = await (this.#passing
        ? this.#peekPast(now, limit)
        : this.index.peek(now, limit));
      // Other entries may be looked at by now: what was found may leave them out.
      if (version !== this.#version) continue;
      if (!this.#passing && !found.due.every(({ key }) => this.#canLook(key))) {
        this.#passing = true;
        this.#cursor.restart();
        continue;
      }
      if (this.#anew && !this.#passing) this.#oldest = Infinity;
      this.#anew = false;
      if (found.due.length === 0) this.#idleVersion = version;
      return found;
    }
  }

  /** The same, leaving out what cannot be looked at. */
  async #peekPast(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }> {
    const version = this.#version;
    let oldest = this.#anew ? Infinity : this.#oldest;
    for (;;) {
      const entries = await this.#cursor.page(now, limit);
      const none = { due: [], next: undefined };
      if (version !== this.#version) return none;
      const due: DeadlineEntry[] = [];
      for (const entry of entries)
        if (this.#canLook(entry.key)) due.push(entry);
        else oldest = Math.min(oldest, entry.at);
      this.#cursor.pass(entries);
      this.#oldest = oldest;
      if (due.length > 0) return { due, next: undefined };
      if (entries.length < limit)
        return { due, next: await this.index.next(now) };
    }
  }

  /** Has each node look at its own. Rejects only where there is one node, and it fails. */
  async judge(entries: readonly DeadlineEntry[]): Promise<void> {
    const parts = new Map<GroupNode, DeadlineEntry[]>();
    for (const entry of entries) {
      const node = this.options.nodeOf(entry.key);
      if (!node) continue;
      const part = parts.get(node);
      if (part) part.push(entry);
      else parts.set(node, [entry]);
    }
    const { alone } = this.options;
    await Promise.all(
      [...parts].map(([node, part]) =>
        alone ? node.judge(part) : this.#judgePatiently(node, part),
      ),
    );
  }

  #canLook(key: Buffer): boolean {
    const node = this.options.nodeOf(key);
    return node !== undefined && node.watched && !this.#stuck.has(node);
  }

  /** Goes on without the node if it does not answer, and comes back to it when it did. */
  async #judgePatiently(
    node: GroupNode,
    entries: readonly DeadlineEntry[],
  ): Promise<void> {
    const leave = (): void => {
      this.#stuck.set(node, entries[0]!.at);
      this.#version++;
    };
    const back = (): void => {
      if (!this.#stuck.delete(node)) return;
      this.restart();
      this.options.onReturn();
    };
    const work = node.judge(entries).then(back, (error: unknown) => {
      this.options.onError(error);
      leave();
      setTimeout(back, AGAIN).unref();
    });
    if (!(await within(PATIENCE, work))) leave();
  }
}
