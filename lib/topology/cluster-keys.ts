import type { Redis } from 'ioredis';
import { isForbidden, isRedirect } from '../connection/server-error.js';
import type { Topology } from './topology.js';

/** What is asked about a key, and what is said of one that the ACL forbids to ask for. */
export interface KeyQuestion<T> {
  /** Its first command is about the key. */
  readonly ask: (redis: Redis, key: Buffer) => Promise<T>;
  readonly forbidden: T;
  /** The ACL forbids to ask for a key. */
  readonly onDenied: (error: unknown) => void;
}

/** Where the keys of a Cluster are: `nodeOf` says which node to ask. */
type KeyPlaces = Pick<Topology, 'nodeOf' | 'redirect'>;

/**
 * Asks for each key at the node where it lives, or is on its way to. Resolves with an answer for each, in their order;
 * rejects where one cannot be asked for now.
 */
export function askInCluster<T>(
  keys: readonly Buffer[],
  question: KeyQuestion<T>,
  places: KeyPlaces,
): Promise<T[]> {
  const { forbidden, onDenied } = question;
  return Promise.all(
    keys.map((key) =>
      askFor(key, question, places).catch((error: unknown) => {
        if (!isForbidden(error)) throw error;
        onDenied(error);
        return forbidden;
      }),
    ),
  );
}

async function askFor<T>(
  key: Buffer,
  { ask }: KeyQuestion<T>,
  places: KeyPlaces,
): Promise<T> {
  try {
    const node = places.nodeOf(key);
    if (!node) throw new Error('no node of the Cluster is known');
    return await node.commands.run((redis) => ask(redis, key));
  } catch (error) {
    const there = isRedirect(error) ? places.redirect(error) : undefined;
    if (!there) throw error;
    return there.node.commands.run((redis) => {
      // Sent in one go with what follows: the permission is for one command.
      if (there.asking) redis.asking().catch(() => undefined);
      return ask(redis, key);
    });
  }
}
