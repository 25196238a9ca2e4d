import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { Commands } from '../connection/commands.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { Mutex } from '../util/mutex.js';
import type { HomeKeys } from './group-keys.js';
import { LIFETIME_MS } from './known-instances.js';
import {
  type GroupListener,
  GroupPatterns,
  nameOfPattern,
} from './group-patterns.js';
import {
  type KnownList,
  type OwnHandlers,
  handlersOf,
  matchingIds,
  readHandlerList,
} from './own-handlers.js';
import { NOTE_HANDLERS, type NoteReply } from '../scripts/note-handlers.lua.js';
import { WITHDRAW_HANDLERS } from '../scripts/withdraw-handlers.lua.js';

/** Between two notes of an instance; what changes anywhere is known everywhere after that time. */
const NOTE_INTERVAL_MS = 1_000;
/** An instance that noted nothing for so long is dead, most likely. */
const WELL_MS = 1_500;
/** For which expiries of its patterns wait for an instance that left, or is dead: it may be restarted. */
const RETURN_MS = 15_000;
/** For which its patterns are listened for, counted from its last note: nothing is missed if it is back by then. */
const MEMORY_MS = 60_000;
/** Between two questions of an instance that are asked out of turn, at least. */
const ASK_INTERVAL_MS = 100;
/** After the start, handlers that are subscribed by hand may still be on their way. */
const SETTLING_MS = 3_000;
/** For which a new pattern waits, at most, until the instance that leads says that it listens for it. */
const LISTENED_PATIENCE_MS = 5_000;

/**
 * Who has which handlers in a group. Every instance notes its own in Redis, once a second and when they
 * change, and learns all others' by the same command.
 *
 * States: stopped (at first; notes nothing) ⇄ noting, by `start` and `withdraw`; → closed, by `stop` or
 * `close`, for good.
 *
 * Guarantees: handlers that `stop` or a note withdraws are gone at once; those of an instance that died
 * are gone after 15 s in which some instance could reach Redis. After `ask` resolved, this instance knows
 * of every handler that was noted before `ask` was called. The patterns of all other instances are in the
 * listener's registry, so that whoever leads watches for everybody: those of an instance that left or died
 * for a while longer, so that nothing is missed by a restart, and those that were unsubscribed no longer.
 */
export class HandlerRegistry {
  /** How many instances live, this one included. */
  instances = 1;
  /** How many of them are well: this drops soon after one died, and for a moment where one is late. */
  well = 1;
  /** The lists of the whole group, by number. */
  #lists: ReadonlyMap<string, KnownList> = new Map();
  /** The number of this instance's own list, and its text, as they were noted. */
  #number = '';
  #noted: string | undefined;
  /** The numbers of the lists that whoever leads listens for, as it told. */
  #listened = '';
  readonly #patterns: GroupPatterns;
  #state: 'stopped' | 'noting' | 'closed' = 'stopped';
  readonly #mutex = new Mutex();
  /** The next note, which is not sent yet; and the question that waits until it may be asked. */
  #next: Promise<void> | undefined;
  #asked: Promise<void> | undefined;
  #sentAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #completeAt: number | undefined;

  constructor(
    private readonly commands: Commands,
    private readonly keys: HomeKeys,
    private readonly instance: string,
    private readonly own: OwnHandlers,
    listener: GroupListener,
    private readonly log: Log,
  ) {
    this.#patterns = new GroupPatterns(listener);
  }

  /**
   * Whether a handler that is not known now will not come by itself: the application's own were all added,
   * and those that are subscribed by hand have had some seconds for it.
   */
  get isSettled(): boolean {
    const [started, complete] = [this.#startedAt, this.#completeAt];
    if (this.#state !== 'noting' || complete === undefined) return false;
    return performance.now() - Math.max(started, complete) > SETTLING_MS;
  }

  /** The handlers that the application has from the start were added. */
  complete(): void {
    this.#completeAt ??= performance.now();
  }

  /** Notes the handlers, and goes on until `withdraw` or `stop`. Resolves when they are noted. */
  async start(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'noting';
    this.#startedAt = performance.now();
    await this.note();
    this.#timer ??= setInterval(
      () => void this.#noteQuietly(),
      NOTE_INTERVAL_MS,
    ).unref();
  }

  /** Withdraws what was noted, and notes nothing until it is started again. Rejects as the command does. */
  async withdraw(): Promise<void> {
    this.#pause();
    if (this.#noted === undefined) return;
    const { instances } = this.keys;
    await this.#mutex.run(() =>
      this.commands.run((redis) =>
        WITHDRAW_HANDLERS.run(redis, [instances], this.instance),
      ),
    );
  }

  /** As `withdraw`, for good. */
  async stop(): Promise<void> {
    this.close();
    await this.withdraw();
  }

  /** Notes nothing more, and leaves it to time that what was noted is gone. */
  close(): void {
    this.#pause();
    this.#state = 'closed';
  }

  /**
   * Notes what this instance has, and learns what others have, by one command that is sent after this
   * call; all who want that before it is sent share it. Rejects as the command does, or while it is not
   * started.
   */
  note(): Promise<void> {
    this.#next ??= this.#mutex.run(async () => {
      this.#next = undefined;
      if (this.#state !== 'noting') throw new Error('it does not run');
      this.#sentAt = performance.now();
      await this.#note();
    });
    return this.#next;
  }

  /** As `note`, but some times a second at most, however often it is called. */
  ask(): Promise<void> {
    this.#asked ??= this.#untilAskable().then(() => {
      this.#asked = undefined;
      return this.note();
    });
    return this.#asked;
  }

  /** Whether another instance that lives has the handler of this id. */
  hasElsewhere(id: string): boolean {
    return this.#others().some(
      ({ handlers, gone }) => gone === 0 && handlers.has(id),
    );
  }

  /** The ids of handlers of other living instances, of expiries or of warnings so many ms before, whose pattern matches a key, which is given without its `keyPrefix`. */
  matchingElsewhere(key: Buffer, before?: number): Set<string> {
    const living = this.#others().filter(({ gone }) => gone === 0);
    return new Set(
      living.flatMap(({ handlers }) => matchingIds(handlers, key, before)),
    );
  }

  /** Whether an instance had such a handler for a key that is gone, and may be back soon. */
  isExpectedBack(key: Buffer, before?: number): boolean {
    return this.#others().some(
      ({ handlers, gone }) =>
        gone > 0 &&
        gone < RETURN_MS &&
        matchingIds(handlers, key, before).length > 0,
    );
  }

  /**
   * Resolves when the patterns of this instance are listened for by whoever leads. Where nobody says so
   * within some seconds, it resolves as well: whoever leads then learns of them by its next note.
   */
  async untilListened(): Promise<void> {
    const end = performance.now() + LISTENED_PATIENCE_MS;
    while (!this.#patterns.leads && !this.#areListened()) {
      if (this.#state !== 'noting' || performance.now() > end) return;
      await delay(ASK_INTERVAL_MS);
      await this.#noteQuietly();
    }
  }

  async #untilAskable(): Promise<void> {
    const early = this.#sentAt + ASK_INTERVAL_MS - performance.now();
    if (early > 0 && this.#state === 'noting') await delay(early);
  }

  #others(): KnownList[] {
    return [...this.#lists]
      .filter(([number]) => number !== this.#number)
      .map(([, list]) => list);
  }

  #pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#state === 'noting') this.#state = 'stopped';
  }

  async #noteQuietly(): Promise<void> {
    await this.note().catch((error: unknown) =>
      this.log.debug(
        `Handlers could not be noted, and are noted again soon: ${reasonOf(error)}`,
      ),
    );
  }

  async #note(): Promise<void> {
    const { text } = this.own;
    const isNoted = this.#number !== '' && text === this.#noted;
    let reply = await this.#send(
      isNoted ? this.#number : '',
      isNoted ? '' : text,
    );
    // It counted as dead, or everything was flushed.
    if (reply[0] === '') reply = await this.#send('', text);
    this.#noted = text;
    const [number, instances, well, listened, ...lists] = reply;
    this.#number = number;
    [this.instances, this.well] = [instances, Math.max(1, well)];
    this.#listened = listened;
    this.#lists = this.#read(lists);
    this.#patterns.take(this.#others().flatMap(handlersOf));
    void this.#confirm();
  }

  #send(number: string, text: string): Promise<NoteReply> {
    const { instances, handlers, listened } = this.keys;
    const { listening } = this.#patterns;
    const known = [...this.#lists.keys()].map((each) => `${each},`).join('');
    return this.commands.run((redis) =>
      NOTE_HANDLERS.run(
        redis,
        [instances, handlers, listened],
        ...[this.instance, number, text, LIFETIME_MS, MEMORY_MS],
        ...[listening, `,${known}`, WELL_MS],
      ),
    ) as Promise<NoteReply>;
  }

  /** `flat`: for each list its number, for how long it is gone, and the list, or nothing where it is known. */
  #read(flat: readonly string[]): ReadonlyMap<string, KnownList> {
    const lists = new Map<string, KnownList>();
    for (let i = 0; i + 2 < flat.length; i += 3) {
      const [number, gone, text] = [
        flat[i]!,
        Number(flat[i + 1]),
        flat[i + 2]!,
      ];
      const handlers =
        text === '' ? this.#lists.get(number)?.handlers : readHandlerList(text);
      if (handlers) lists.set(number, { handlers, gone });
    }
    return lists;
  }

  /** Where this instance leads: tells the others, by a note of its own, once it listens for what is new. */
  async #confirm(): Promise<void> {
    try {
      if (await this.#patterns.confirm([...this.#lists.keys()].join(',')))
        await this.note();
    } catch (error) {
      this.log.debug(`Not every pattern is listened for: ${reasonOf(error)}`);
    }
  }

  /** Whether whoever leads listens for every pattern of this instance. */
  #areListened(): boolean {
    const lists = this.#listened.split(',').flatMap((number) => {
      const list = this.#lists.get(number);
      return list ? [list] : [];
    });
    const patterns = new Set(lists.flatMap(handlersOf).map(nameOfPattern));
    return [...this.own].every(({ handler }) =>
      patterns.has(nameOfPattern(handler)),
    );
  }
}
