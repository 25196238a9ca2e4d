import type { ExpiryAnswer } from '../listening/deadline-keeper.js';
import type { DeadlineEntry, DeadlineIndex } from './deadline-index.js';

/**
 * What a `NodeWatch` leaves to the mode that it works for: which index holds the deadlines, and what an
 * announcement and a look mean. Broadcast's is `AnnouncementJudge`, a group's is its `GroupNode`.
 *
 * Its methods are called from a socket's callback or between two states, so they must be quick and
 * must not throw, unless they return a promise.
 */
export interface DeadlineJudge {
  /** Holds the deadlines of the node's keys: what is learnt goes in, and the loop asks what is due. */
  readonly index: Pick<DeadlineIndex, 'enrol' | 'peek' | 'zsetFor'>;
  /**
   * Whether keys are looked at, too, while the server announces nothing. A server that is not proven to
   * announce counts as silent then.
   */
  readonly looksInSilence: boolean;
  /** How many keys the index holds, for `status()`; undefined where that is not known of one node. */
  readonly tracked: number | undefined;

  /** Looks at keys that are due, and takes them out of the index or moves them on. Rejects to be asked again. */
  look(due: readonly DeadlineEntry[]): Promise<void>;
  /** Every deadline before this moment, by Redis's clock, has been looked at. */
  lookedBefore?(moment: number): void;
  /** Other patterns are listened for than before, or values of other keys are asked for; also called where nothing changed. */
  subscribed?(): void;
  /** Keys were enrolled, the soonest with this deadline, and the watch's own loop knows of it. */
  enrolled?(soonest: number): void;

  /** Redis announced that a key expired. What is known of its time, or that another server told it before. */
  announced(redisKey: Buffer): ExpiryAnswer;
  /** Redis announced something else of a key. The watch itself learns deadlines from `new` and `expire`. */
  heard(event: string, redisKey: Buffer): void;
  /** A key was written or removed, by whatever. Whether it is looked at; if not, its deadline is learnt anew. */
  written(redisKey: Buffer): boolean;

  /** The watch is about to begin, and Redis's time was read a moment ago. Rejects to be asked again. */
  beginning?(): Promise<void>;
  /**
   * The watch begins: from now on keys are looked at, everything is heard (`listening`) or nothing is
   * (`silent`), and Redis's time was read a moment ago. Also called when one follows the other.
   */
  began(state: 'listening' | 'silent'): void;
  /**
   * Listening is lost, and so many ms ago everything was certainly heard. Called before the watch
   * rests: its `isWatching` still says whether it had begun, and its `lookedBefore` how far it came.
   */
  suspended(ago: number): void;
  /** Redis's clock is ahead of what it was taken for by so many ms, or behind if that is negative. */
  clockStepped?(ms: number): void;
  /** Another server stands in the node's place than the one that was listened to before. */
  replaced?(): void;
  /** The node serves keys that the nodes with these addresses served. */
  gained?(from: ReadonlySet<string>): void;
}
