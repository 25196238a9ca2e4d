import type { Redis } from 'ioredis';
import type { Commands } from '../connection/commands.js';
import {
  isForbidden,
  isRedirect,
  isReplyError,
} from '../connection/server-error.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { Topology } from '../topology/topology.js';
import { within } from '../util/within.js';

/** Ms for which keys wait that are touched: a node that hangs holds up no other. */
const PATIENCE_MS = 500;

/** Where the entries of a partition go, and a connection to the server that has it. */
export interface Destination {
  readonly commands: Commands;
  readonly index: string;
  /** As of `GroupKeys`. */
  readonly lease: string;
  /** As of `GroupKeys`. */
  readonly warnings: string;
  /** As of `GroupKeys`. */
  readonly befores: string;
  /** Where the entries are those of warnings: for which `before`. */
  readonly before?: number;
}

/** Where keys are, and who keeps their deadlines there. */
export interface Destinations extends Pick<Topology, 'redirect' | 'nodeOf'> {
  /** The index of the partition that watches a node; undefined while none does. */
  indexOf(node: RedisNode): Destination | undefined;
  /** Where each partition notes which expiries it told. */
  tolds(): readonly string[];
}

/**
 * The index that an entry belongs to; undefined while that is not known. `'none'`: no index, because the key may not be
 * read, or because it was deleted: it is nowhere, and its deadline is still to come.
 */
export type Whereabouts = Destination | 'none' | undefined;

/** Where a key is, as a node says: here; nowhere, though it would be here; or elsewhere, or not to be told, by an error. */
type Answer = 'here' | 'missing' | Error;

/**
 * Finds out where keys are that may not be on a node, by asking that node for each of them, and then the nodes to
 * which it points. `Forwarder` has one.
 *
 * A key is looked at where it is to be. If it is due, and its slot is on its way, that node announces it then if it has
 * run out. If its deadline is still to come and it is missing there, it was deleted: MIGRATE takes a key off one node
 * once the other one has it. To hand its deadline on would be wrong, because a partition that is new to a node takes
 * what is gone for expired.
 */
export class KeyFinder {
  /**
   * @param commands to the node that is asked, as long as the term lasts
   * @param during the same connection, as long as the term lasts
   */
  constructor(
    private readonly node: RedisNode,
    private readonly commands: Commands,
    private readonly destinations: Destinations,
    private readonly during: (connection: Commands) => Commands,
  ) {}

  /**
   * Resolves with where each key belongs, in their order. Rejects where the node cannot be asked.
   *
   * @param isAhead whether a key cannot have run out by now
   * @param onError is told why keys could not be looked at
   */
  async locate(
    keys: readonly Buffer[],
    isAhead: (i: number) => boolean,
    onError: (error: unknown) => void,
  ): Promise<Whereabouts[]> {
    const answers = await this.commands.runNow((redis) =>
      Promise.all(keys.map((key) => look(redis, key))),
    );
    const found: Whereabouts[] = [];
    const elsewhere = new Map<RedisNode, Pointer[]>();
    for (const [i, answer] of answers.entries()) {
      if (answer === 'here') found[i] = this.destinations.indexOf(this.node);
      else if (answer === 'missing')
        found[i] = isAhead(i) ? 'none' : this.destinations.indexOf(this.node);
      else if (isForbidden(answer)) found[i] = 'none';
      else {
        const { node, asking } =
          (isRedirect(answer) && this.destinations.redirect(answer)) || {};
        if (!node) continue;
        // What may be due is looked at by the partition that gets it: a look from here would expire it.
        if (!asking && !isAhead(i)) found[i] = this.destinations.indexOf(node);
        else
          elsewhere.set(node, [
            ...(elsewhere.get(node) ?? []),
            { i, key: keys[i]!, asking: asking ?? false },
          ]);
      }
    }
    await Promise.all(
      [...elsewhere].map(([node, pointers]) =>
        within(
          PATIENCE_MS,
          this.#follow(node, pointers, isAhead).then((places) =>
            pointers.forEach(({ i }, n) => (found[i] = places[n])),
          ),
        ).catch(onError),
      ),
    );
    return keys.map((_, i) => found[i]);
  }

  /** As `locate`, by what is known of the slots: no key is touched, and a wrong answer is mended by whoever gets it. */
  guess(keys: readonly Buffer[]): Whereabouts[] {
    return keys.map((key) => {
      const node = this.destinations.nodeOf(key);
      return node && this.destinations.indexOf(node);
    });
  }

  /** Where keys belong that are on that node, or on their way to it. */
  async #follow(
    node: RedisNode,
    pointers: readonly Pointer[],
    isAhead: (i: number) => boolean,
  ): Promise<Whereabouts[]> {
    const answers = await this.during(node.commands).runNow((redis) =>
      Promise.all(
        pointers.map(({ key, asking }) => {
          // Sent in one go with what follows: the permission is for one command.
          if (asking) redis.asking().catch(() => undefined);
          return look(redis, key);
        }),
      ),
    );
    return pointers.map(({ i, asking }, n) => {
      if (answers[n] === 'missing' && isAhead(i)) return 'none';
      // While its slot is on its way, its entry waits.
      return asking || answers[n] instanceof Error
        ? undefined
        : this.destinations.indexOf(node);
    });
  }
}

/** A key to which a node pointed that does not have it, by its place in the list. */
interface Pointer {
  readonly i: number;
  readonly key: Buffer;
  /** Its slot is on its way. */
  readonly asking: boolean;
}

async function look(redis: Redis, key: Buffer): Promise<Answer> {
  try {
    return (await redis.exists(key)) === 1 ? 'here' : 'missing';
  } catch (error) {
    if (isReplyError(error)) return error;
    throw error;
  }
}
