import { isForbidden, isRedirect } from '../connection/server-error.js';
import type { RedisNode } from './redis-node.js';
import type { Redirection } from './topology.js';

export interface ClusterExistsOptions {
  /** The node to ask for a key; undefined where none is known. */
  readonly nodeOf: (key: Buffer) => RedisNode | undefined;
  /** As of `Topology`. */
  readonly redirect: (answer: Error) => Redirection | undefined;
  /** The ACL forbids to ask for a key, which counts as one that does not exist. */
  readonly onDenied: (error: unknown) => void;
}

/**
 * Asks for each key at the node where it lives, or is on its way to. Resolves with the indexes of those that
 * exist; rejects where one cannot be asked for now.
 */
export async function existInCluster(
  keys: readonly Buffer[],
  options: ClusterExistsOptions,
): Promise<ReadonlySet<number>> {
  const exist = await Promise.all(
    keys.map((key) =>
      exists(key, options).catch((error: unknown) => {
        if (!isForbidden(error)) throw error;
        options.onDenied(error);
        return 0;
      }),
    ),
  );
  return new Set(exist.flatMap((there, i) => (there ? [i] : [])));
}

async function exists(
  key: Buffer,
  { nodeOf, redirect }: ClusterExistsOptions,
): Promise<number> {
  try {
    const node = nodeOf(key);
    if (!node) throw new Error('no node of the Cluster is known');
    return await node.commands.run((redis) => redis.exists(key));
  } catch (error) {
    const there = isRedirect(error) ? redirect(error) : undefined;
    if (!there) throw error;
    return there.node.commands.run((redis) => {
      // Sent in one go with what follows: the permission is for one command.
      if (there.asking) redis.asking().catch(() => undefined);
      return redis.exists(key);
    });
  }
}
