import type { Redis } from 'ioredis';
import { isDenied, isReplyError } from '../connection/server-error.js';
import type { Trial } from './acl-trials.js';
import { connect } from './connecting.js';
import type { DoctorNode } from './context.js';

/** The commands that a user may not run: by ACL DRYRUN, which asks about each, or by trial where that is not to be had. */
export const refusedCommands = async (
  node: DoctorNode,
  user: string | undefined,
  trials: readonly Trial[],
): Promise<string[]> =>
  (user === undefined
    ? undefined
    : await refusedByDryRun(node.redis, user, trials)) ??
  (await refusedByTrial(node, trials));

/** Undefined where the server has no ACL DRYRUN, or forbids it. */
async function refusedByDryRun(
  redis: Redis,
  user: string,
  trials: readonly Trial[],
): Promise<string[] | undefined> {
  const answers = await Promise.all(
    trials.map(({ words }) =>
      redis
        .acl('DRYRUN', user, ...(words as [string]))
        .catch((error: unknown) => {
          if (!isReplyError(error)) throw error;
          return error;
        }),
    ),
  );
  if (answers.every((answer) => answer instanceof Error)) return undefined;
  const commands = trials
    .filter((_, i) => answers[i] !== 'OK')
    .map(({ command }) => command);
  return [...new Set(commands)];
}

/** Sends what is harmless, on a connection of its own; that which subscribes comes last. */
async function refusedByTrial(
  { url }: DoctorNode,
  trials: readonly Trial[],
): Promise<string[]> {
  const redis = await connect(url);
  const last = (trial: Trial): number =>
    Number(/subscribe$/.test(trial.command));
  const commands = new Set<string>();
  try {
    const sent = trials.filter(({ isHarmless }) => isHarmless);
    for (const { command, words } of sent.toSorted(
      (a, b) => last(a) - last(b),
    )) {
      const [name, ...rest] = words;
      try {
        await redis.call(name!, ...rest);
      } catch (error) {
        if (!isReplyError(error)) throw error;
        if (isDenied(error)) commands.add(command);
      }
    }
  } finally {
    redis.disconnect();
  }
  return [...commands];
}
