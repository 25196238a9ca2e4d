import {
  isElsewhere,
  isMissingGroup,
  isReplyError,
  isRetriable,
  isWriteRefused,
} from '../connection/server-error.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type {
  Delivery,
  OnEnd,
  Refusals,
  RunGate,
} from '../dispatch/run-gate.js';
import type { Log } from '../util/log.js';
import type { EventStream } from './event-stream.js';
import { endOfGrace } from './grace.js';
import type { GraceRecord } from './grace-record.js';
import type { NamedHandler } from './own-handlers.js';
import { RunCounts } from './run-counts.js';
import type { Entry, Wait } from './stream-entry.js';

/** Ms before a note is sent again that got no answer. */
const RETRY_DELAY_MS = 100;

/** An entry on its way through one handler. */
export class HandlerRun implements Delivery {
  constructor(
    readonly gate: RunLedger,
    readonly entry: Entry,
    readonly handler: NamedHandler,
    readonly isAlone: boolean,
    readonly ended: OnEnd,
  ) {}
}

/**
 * Notes in Redis which handlers begin to run for which entries, before they do. So the tries of an
 * event are the runs of its handler, whatever becomes of the process: a handler that kills its process
 * leaves a note, and what merely waited in a process that died leaves none.
 *
 * Why a hash of its own: the delivery counter of a stream's entry counts something else. Reading
 * one's own pending entries after a lost connection raises it, so does taking over an entry that
 * nobody began, and it knows one count for all handlers of an entry. To set it (XCLAIM … RETRYCOUNT)
 * costs Redis 6 µs an entry, a field of a hash 1 µs.
 *
 * Why it costs little: one note is sent for all runs that the dispatcher begins together, beside the
 * question whether their keys are alive, which it waits for anyway.
 *
 * Guarantees: a handler runs only after its note was taken, or was refused by the server. A refusal
 * (no memory, an ACL) is no reason to handle nothing: the handlers run, unnoted, and a warning says so
 * once. An entry that another instance has taken over meanwhile is not
 * run here, whether that instance still works on it or has ended it. A handler with a `grace` does not run
 * where the key is known to have come back in time, whatever became of it since.
 *
 * Left to others: removing the notes, which the scripts do that end an entry.
 */
export class RunLedger implements RunGate {
  #warned = false;
  /** One run of each handler: what almost every note says. */
  readonly #first = new WeakMap<NamedHandler, RunCounts>();

  constructor(
    private readonly stream: Pick<EventStream, 'begin'>,
    private readonly graces: Pick<GraceRecord, 'setAside' | 'ended'>,
    private readonly group: string,
    private readonly log: Log,
  ) {}

  async admit(deliveries: readonly Delivery[]): Promise<Refusals> {
    // The dispatcher groups deliveries by their gate: these are this ledger's.
    const runs = deliveries as readonly HandlerRun[];
    const entries = new Set<Entry>();
    for (const { entry, handler } of runs) {
      entry.runs = this.#oneMore(entry.runs, handler);
      entries.add(entry);
    }
    const [lost, returned] = await Promise.all([
      this.#answer(() => this.stream.begin([...entries]), new Set<string>()),
      this.#returned(runs),
    ]);
    const refusals = new Map<Delivery, 'dropped' | 'cameBack'>();
    for (const run of runs)
      if (lost.has(run.entry.id)) refusals.set(run, 'dropped');
      else if (returned.has(run)) refusals.set(run, 'cameBack');
    return refusals;
  }

  /**
   * Has an entry's event wait for the grace of some handlers, while others run for it. Resolves with whether that was
   * done, and then `Entry.runs` says so; it is not where the server refuses it, or the entry is another instance's.
   */
  async setAside(entry: Entry, waits: readonly Wait[]): Promise<boolean> {
    const { runs } = entry;
    entry.runs = waits.reduce((all, { id }) => all.settingAside(id), runs);
    const isDone = await this.#answer(
      () => this.graces.setAside(entry, waits),
      false,
    ).catch(() => false);
    if (!isDone) entry.runs = runs;
    return isDone;
  }

  /** Those whose keys came back within the grace of their handlers. */
  async #returned(
    runs: readonly HandlerRun[],
  ): Promise<ReadonlySet<HandlerRun>> {
    const graced = runs.flatMap((run) => {
      const { event } = run.entry;
      const end = endOfGrace(event, run.handler.handler);
      return end === undefined ? [] : [{ run, event, end }];
    });
    if (graced.length === 0) return new Set();
    const ended = await this.#answer(() => this.graces.ended(graced), []);
    return new Set(graced.flatMap(({ run }, i) => (ended[i] ? [run] : [])));
  }

  #oneMore(runs: RunCounts, handler: NamedHandler): RunCounts {
    if (!runs.isEmpty) return runs.plus(handler.id);
    let first = this.#first.get(handler);
    if (!first) {
      first = RunCounts.none.plus(handler.id);
      this.#first.set(handler, first);
    }
    return first;
  }

  /** Asks until the server answers; `refused` where it refuses to. Rejects once the connection is closed for good. */
  async #answer<T>(ask: () => Promise<T>, refused: T): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof RedisExpiryError) throw error;
        if (isRefusal(error)) {
          // After a flush nothing is left to note it in.
          if (!isMissingGroup(error)) this.#warn(error);
          return refused;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
    }
  }

  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    this.log.warn(
      `Redis refuses to note which handlers of group "${this.group}" begin to run (${reasonOf(error)}). ` +
        'They run all the same, but a try that kills its process is not counted, so such an event is tried again for ever. ' +
        'Grant HSET, HMGET and HDEL on the group’s keys, or give the server memory',
    );
  }
}

/** The server answered, and asking again at once would change nothing. */
const isRefusal = (error: unknown): boolean =>
  isReplyError(error) &&
  !isElsewhere(error) &&
  (isWriteRefused(error) || !isRetriable(error));
