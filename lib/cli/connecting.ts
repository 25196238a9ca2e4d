import { Redis, type RedisOptions } from 'ioredis';
import { isForbidden, isReplyError } from '../connection/server-error.js';
import { reasonOf, withoutPasswords } from '../errors/redis-expiry.error.js';
import { within } from '../util/within.js';
import { CliError } from './cli-error.js';
import { addressOf } from './url.js';

/** Ms within which a server must be reached, and within which it must answer each command. */
const PATIENCE_MS = 5_000;

/**
 * Connects to one server. The connection is made once, and every command on it is answered in time or
 * rejects, so that nothing waits for a server that is silent. Throws a `CliError` where there is none.
 */
export async function connect(
  url: string,
  options: RedisOptions = {},
): Promise<Redis> {
  const redis = new Redis(url, {
    connectionName: 'nestjs-redis-expiry-cli',
    lazyConnect: true,
    connectTimeout: PATIENCE_MS,
    commandTimeout: PATIENCE_MS,
    enableReadyCheck: false,
    retryStrategy: () => null,
    autoResubscribe: false,
    protocol: 2,
    replyMapping: 'legacy',
    ...options,
  });
  let refusal: Error | undefined;
  redis.on('error', (error: Error) => (refusal ??= error));
  try {
    const isReady = await within(PATIENCE_MS, greet(redis));
    if (!isReady) throw new Error(`no answer within ${PATIENCE_MS} ms`);
    // A login that failed leaves one connected as the default user.
    if (isReplyError(refusal)) throw refusal;
    return redis;
  } catch (error) {
    redis.disconnect();
    throw cannotAsk(url, refusal ?? error);
  }
}

/** The error for a server that gives no answers. */
export const cannotAsk = (url: string, error: unknown): CliError =>
  new CliError(
    `${addressOf(url)} cannot be asked: ${withoutPasswords(reasonOf(error))}.`,
    { cause: error },
  );

async function greet(redis: Redis): Promise<void> {
  await redis.connect();
  await redis.ping().catch((error: unknown) => {
    if (!isForbidden(error)) throw error;
  });
}
