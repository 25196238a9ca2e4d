import { randomUUID } from 'node:crypto';
import { isForbidden, isReplyError } from '../connection/server-error.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { type CheckContext, type DoctorNode, ask, ownKey } from './context.js';
import { Hearing } from './hearing.js';

/** Where the doctor may write keys of its own, or why it may not. */
export type OwnKeys =
  { readonly prefix: string } | { readonly refused: string };

/**
 * Tries where keys of its own may be written: below `rx:doctor:`, or below `rx:self-test:`, which the rules
 * of a user for the module allow. What it writes has a TTL.
 */
export async function ownKeys(
  node: DoctorNode,
  context: CheckContext,
): Promise<OwnKeys> {
  const { namespace } = context;
  let refused = '';
  for (const place of ['doctor', 'self-test:doctor']) {
    const prefix = ownKey(node, `${namespace}:${place}:${randomUUID()}:`);
    try {
      await node.redis.set(prefix, '', 'PX', 1);
      if (await mayHear(node, context, prefix)) return { prefix };
      refused = 'the ACL forbids every channel that was tried';
    } catch (error) {
      if (!isReplyError(error)) throw error;
      refused = reasonOf(error);
      if (!isForbidden(error)) break;
    }
  }
  return { refused };
}

/** Whether what happens to a key may be listened for. */
async function mayHear(
  node: DoctorNode,
  context: CheckContext,
  key: string,
): Promise<boolean> {
  const hearing = await Hearing.open(node, context, [key], () => undefined);
  hearing.close();
  return hearing.families.length > 0;
}

/** Removes keys of its own before their TTL does. */
export async function removeOwn(
  { redis }: DoctorNode,
  keys: readonly string[],
): Promise<void> {
  if (keys.length > 0) await ask(redis.del(...keys));
}
