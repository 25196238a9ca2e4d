import type { Redis } from 'ioredis';
import {
  forbiddenPart,
  isForbidden,
  isReplyError,
  isUnknownCommand,
} from '../connection/server-error.js';
import type { Trial } from './acl-trials.js';
import { connect } from './connecting.js';
import type { DoctorNode } from './context.js';

/** What came of a trial: the command itself is forbidden, a key of it or a channel of it; or the server has no such command. */
export type Outcome = 'ok' | 'command' | 'key' | 'channel' | 'absent';

/** Whether a user may run each of the trials: by ACL DRYRUN, which tells, or by sending what is harmless where that is not to be had. */
export const outcomesOf = async (
  node: DoctorNode,
  user: string | undefined,
  trials: readonly Trial[],
): Promise<Outcome[]> =>
  (user === undefined ? undefined : await byDryRun(node.redis, user, trials)) ??
  (await bySending(node, trials));

/** Undefined where the server has no ACL DRYRUN, or forbids it. */
async function byDryRun(
  redis: Redis,
  user: string,
  trials: readonly Trial[],
): Promise<Outcome[] | undefined> {
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
  return answers.map((answer) => {
    if (answer === 'OK') return 'ok';
    // It knows no such command.
    if (answer instanceof Error) return 'absent';
    return forbiddenPart(String(answer));
  });
}

/** On a connection of its own; that which subscribes comes last. */
async function bySending(
  { url }: DoctorNode,
  trials: readonly Trial[],
): Promise<Outcome[]> {
  const redis = await connect(url);
  const outcomes = new Map<Trial, Outcome>();
  const last = ({ command }: Trial): number =>
    Number(/subscribe$/.test(command));
  try {
    for (const trial of trials.toSorted((a, b) => last(a) - last(b)))
      outcomes.set(trial, trial.isHarmless ? await send(redis, trial) : 'ok');
    return trials.map((trial) => outcomes.get(trial)!);
  } finally {
    redis.disconnect();
  }
}

async function send(redis: Redis, { words }: Trial): Promise<Outcome> {
  const [name, ...rest] = words;
  try {
    await redis.call(name!, ...rest);
    return 'ok';
  } catch (error) {
    if (!isReplyError(error)) throw error;
    if (isForbidden(error)) return forbiddenPart(error.message);
    return isUnknownCommand(error) ? 'absent' : 'ok';
  }
}
