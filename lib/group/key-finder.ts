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

/** The index of a partition, and a connection to the server that has it. */
export interface Destination {
  readonly commands: Commands;
  readonly index: string;
}

/** Where keys are, and who keeps their deadlines there. */
export interface Destinations extends Pick<Topology, 'redirect' | 'nodeOf'> {
  /** The index of the partition that watches a node; undefined while none does. */
  indexOf(node: RedisNode): Destination | undefined;
  /** Where each partition notes which expiries it told. */
  tolds(): readonly string[];
}

/** The index that an entry belongs to; `'none'`, as nothing can be told of its key; undefined while that is not known. */
export type Whereabouts = Destination | 'none' | undefined;

/**
 * Finds out where keys are that may not be on a node, by asking that node for each of them. `Forwarder` has one.
 *
 * A key whose slot is on its way to another node is touched there if it is due: that node announces it then, if
 * it has run out.
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
   * @param isDue whether a key may have run out
   * @param onError is told why keys could not be touched
   */
  async locate(
    keys: readonly Buffer[],
    isDue: (i: number) => boolean,
    onError: (error: unknown) => void,
  ): Promise<Whereabouts[]> {
    const answers = await this.commands.runNow((redis) =>
      Promise.all(keys.map((key) => look(redis, key))),
    );
    const onTheirWay = new Map<RedisNode, Buffer[]>();
    const found = answers.map((answer, i): Whereabouts => {
      if (answer === undefined) return this.destinations.indexOf(this.node);
      if (isForbidden(answer)) return 'none';
      if (!isRedirect(answer)) return undefined;
      const { node, asking } = this.destinations.redirect(answer) ?? {};
      if (!node) return undefined;
      if (!asking) return this.destinations.indexOf(node);
      if (isDue(i))
        onTheirWay.set(node, [...(onTheirWay.get(node) ?? []), keys[i]!]);
      return undefined;
    });
    await Promise.all(
      [...onTheirWay].map(([node, some]) =>
        within(PATIENCE_MS, this.#touch(node, some)).catch(onError),
      ),
    );
    return found;
  }

  /** As `locate`, by what is known of the slots: no key is touched, and a wrong answer is mended by whoever gets it. */
  guess(keys: readonly Buffer[]): Whereabouts[] {
    return keys.map((key) => {
      const node = this.destinations.nodeOf(key);
      return node && this.destinations.indexOf(node);
    });
  }

  async #touch(node: RedisNode, keys: readonly Buffer[]): Promise<void> {
    await this.during(node.commands).runNow((redis) =>
      Promise.all(
        keys.map((key) => {
          // Sent in one go with what follows: the permission is for one command.
          redis.asking().catch(() => undefined);
          return look(redis, key);
        }),
      ),
    );
  }
}

/** A look at a key: the error where it is elsewhere, undefined where it is here or would be. */
async function look(redis: Redis, key: Buffer): Promise<Error | undefined> {
  try {
    await redis.exists(key);
    return undefined;
  } catch (error) {
    if (isReplyError(error)) return error;
    throw error;
  }
}
