import {
  Cluster,
  Redis,
  type ClusterNode,
  type ClusterOptions,
  type RedisOptions,
} from 'ioredis';
import { invalidOption } from '../errors/redis-expiry.error.js';

/** The start-up nodes and options of a Redis Cluster. */
export interface ClusterConnection {
  nodes: ClusterNode[];
  options?: ClusterOptions;
}

/** Every form in which a user may say where Redis is. */
export type ConnectionForm =
  string | RedisOptions | ClusterConnection | Redis | Cluster;

/**
 * Where Redis is: in one of the forms, or as a function that returns one or a promise of one. The function is
 * asked for each new connection.
 */
export type ConnectionOption =
  ConnectionForm | (() => ConnectionForm | Promise<ConnectionForm>);

/** The forms, as messages name them. */
export const ACCEPTED =
  'a URL (redis://, rediss://, unix://), a socket path, ioredis options, ' +
  '{ nodes, options } for a Cluster, or an ioredis Redis or Cluster';

/** Where Redis is, read once from the `connection` option. The topology makes every connection by it. */
export interface ConnectionTarget {
  /**
   * Resolves with a client that holds what the user's client, options or function say at this moment, and is
   * never connected by the module. Each connection is a duplicate of a new one, so that it logs in with the
   * credentials of its time. Settles within `connectTimeout`; rejects where the options have become invalid,
   * and with what the function throws.
   */
  readonly template: () => Promise<Redis | Cluster>;
  /** The first such client: for what stays as it was at start. */
  readonly first: Redis | Cluster;
  readonly isCluster: boolean;
  readonly keyPrefix: string;
  readonly database: number;
  /** Whether the user wants start-up not to wait for Redis. */
  readonly lazyConnect: boolean;
  /** Milliseconds within which Redis must be reached at start. */
  readonly connectTimeout: number;
  /** Milliseconds to wait before the given attempt (from 1 on) to connect again. There is always a next attempt. */
  readonly retryDelay: (attempt: number) => number;
}

/** Reads one form of the `connection` option. Connects to nothing. Throws `INVALID_OPTION_CONNECTION…`. */
export function readConnectionForm(
  connection: ConnectionForm | undefined,
): ConnectionTarget {
  const read = toTemplate(
    connection === undefined ? 'redis://127.0.0.1:6379' : connection,
  );
  const template = read();
  const redis: RedisOptions = isCluster(template)
    ? { ...template.options.redisOptions }
    : template.options;
  const clusterPrefix = isCluster(template)
    ? template.options.keyPrefix
    : undefined;
  // The same function either way; only the Cluster's may be given a reason as its second argument.
  const userStrategy = (
    isCluster(template)
      ? template.options.clusterRetryStrategy
      : redis.retryStrategy
  ) as ((attempt: number) => unknown) | null | undefined;
  return {
    // By an async function, so that what it throws is a rejection.
    template: async () => read(),
    first: template,
    isCluster: isCluster(template),
    keyPrefix: clusterPrefix || redis.keyPrefix || '',
    database: redis.db ?? 0,
    lazyConnect: isUserLazy(connection),
    connectTimeout: positive(redis.connectTimeout) ?? 10_000,
    retryDelay: (attempt) =>
      userDelay(userStrategy, attempt) ?? defaultDelay(attempt),
  };
}

/** Whether a client is one for a Cluster, of any installed copy of ioredis. */
export function isCluster(client: Redis | Cluster): client is Cluster {
  return client.isCluster;
}

/** Whether a value is of one of the forms, as far as can be told without reading what is in it. */
export const isForm = (value: unknown): value is ConnectionForm =>
  typeof value === 'string'
    ? /^(rediss?|unix):\/\/|^\//.test(value)
    : typeof value === 'object' && value !== null && !Array.isArray(value);

/** Returns a function that reads the option anew. A text stays as it is, but objects may change, and their properties may be getters. */
function toTemplate(connection: unknown): () => Redis | Cluster {
  if (!isForm(connection))
    throw invalidOption('connection', connection, ACCEPTED);
  if (typeof connection === 'string') {
    const { url, options } = splitQuery(checkUrl(connection));
    const template = new Redis(url, { ...options, lazyConnect: true });
    return () => template;
  }
  if (isClient(connection)) return () => connection;
  return 'nodes' in connection
    ? () => toCluster(connection as ClusterConnection)
    : () => toRedis(connection);
}

function toCluster({ nodes, options }: ClusterConnection): Cluster {
  if (!Array.isArray(nodes) || nodes.length === 0)
    throw invalidOption('connection.nodes', nodes, 'at least one node');
  return new Cluster(nodes, { ...options, lazyConnect: true });
}

function toRedis(options: RedisOptions): Redis {
  checkRedisOptions(options);
  return new Redis({ ...options, lazyConnect: true });
}

/** Whether a value is an ioredis client. It is told by its shape, because `instanceof` fails across two installed copies of ioredis. */
function isClient(value: object): value is Redis | Cluster {
  const client = value as Partial<Redis>;
  return (
    typeof client.duplicate === 'function' &&
    typeof client.disconnect === 'function' &&
    typeof client.options === 'object'
  );
}

function checkUrl(url: string): string {
  if (/^redis/.test(url)) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (!parsed) throw invalidOption('connection', url, 'a URL that parses');
    if (!/^\/?\d*$/.test(parsed.pathname)) {
      throw invalidOption(
        'connection',
        url,
        'a URL whose path is the number of a database, as in redis://host:6379/3',
      );
    }
  }
  return url;
}

/** Takes numbers and booleans out of a URL's query as options, because ioredis would take them for texts. */
function splitQuery(text: string): { url: string; options: RedisOptions } {
  const mark = text.indexOf('?');
  if (mark < 0) return { url: text, options: {} };
  const options: Record<string, unknown> = {};
  const query = new URLSearchParams(text.slice(mark + 1));
  for (const [name, value] of [...query]) {
    const isNumber = value !== '' && Number.isFinite(Number(value));
    if (!isNumber && value !== 'true' && value !== 'false') continue;
    options[name] = isNumber ? Number(value) : value === 'true';
    query.delete(name);
  }
  const rest = query.size > 0 ? `?${query.toString()}` : '';
  return { url: text.slice(0, mark) + rest, options };
}

function checkRedisOptions(options: RedisOptions): void {
  const whole = (name: 'port' | 'db', max: number, accepted: string): void => {
    const value: unknown = options[name];
    if (value === undefined) return;
    const number = Number(value);
    if (!Number.isInteger(number) || number < 0 || number > max)
      throw invalidOption(`connection.${name}`, value, accepted);
  };
  whole('port', 65_535, 'a port from 0 to 65535');
  whole('db', 2 ** 31 - 1, 'the number of a database, from 0 on');
}

function isUserLazy(connection: ConnectionForm | undefined): boolean {
  if (typeof connection === 'string' || connection === undefined)
    return /[?&]lazyConnect=true\b/.test(connection ?? '');
  if ('nodes' in connection && !isClient(connection))
    return connection.options?.lazyConnect === true;
  if (!isClient(connection)) return connection.lazyConnect === true;
  // A client that was connected before is as good as one that was not lazy.
  const { lazyConnect } = connection.options as RedisOptions;
  return lazyConnect === true && connection.status === 'wait';
}

const positive = (value: unknown): number | undefined =>
  typeof value === 'number' && value > 0 ? value : undefined;

/** The delay that the user's own strategy returns, a minute at most; undefined where it returns none, or throws. */
function userDelay(
  strategy: ((attempt: number) => unknown) | null | undefined,
  attempt: number,
): number | undefined {
  try {
    const delay = positive(strategy?.(attempt));
    return delay && Math.min(delay, 60_000);
  } catch {
    return undefined;
  }
}

/** From 50 ms, doubling to 2 s, with a tenth of jitter so that instances do not return in step. */
export const defaultDelay = (attempt: number): number =>
  Math.min(2_000, 25 * 2 ** Math.min(attempt, 10)) * (0.9 + Math.random() / 5);
