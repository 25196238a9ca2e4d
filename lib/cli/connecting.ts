import { Redis, type RedisOptions } from 'ioredis';
import { isForbidden, isReplyError } from '../connection/server-error.js';
import { reasonOf, withoutPasswords } from '../errors/redis-expiry.error.js';
import { within } from '../util/within.js';
import { CliError } from './cli-error.js';

/** Ms within which a server must be reached, and within which it must answer each command. */
const PATIENCE_MS = 5_000;

/** An address that may be shown: without a user and a password. */
export function addressOf(url: string): string {
  const { protocol, host, hostname, port, pathname } = new URL(url);
  if (protocol === 'unix:') return pathname;
  return port === '' ? `${hostname}:6379` : host;
}

/** The number of the database that a URL names. */
export const databaseOf = (url: string): number => {
  const { protocol, pathname, searchParams } = new URL(url);
  const named = protocol === 'unix:' ? searchParams.get('db') : pathname;
  return Number((named ?? '').replace('/', ''));
};

/** The URL of another server, with the same credentials. */
export function urlAt(url: string, host: string, port: number): string {
  const other = new URL(url);
  other.hostname = host.includes(':') ? `[${host}]` : host;
  other.port = String(port);
  return other.href;
}

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
