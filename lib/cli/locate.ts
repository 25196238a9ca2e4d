import type { Redis } from 'ioredis';
import { isReplyError } from '../connection/server-error.js';
import { CliError, notAccepted } from './cli-error.js';
import { cannotAsk, connect } from './connecting.js';
import { type DoctorNode, ask } from './context.js';
import { addressOf, urlAt } from './url.js';

/** What is behind a URL. */
export interface Located {
  /** The server that was named; where that is a Sentinel, the primary that it tells of. It is connected. */
  readonly node: DoctorNode;
  readonly isCluster: boolean;
  /** The Sentinel's words about the primary, where the URL is that of a Sentinel. */
  readonly sentinel?: { readonly name: string; readonly quorum: string };
}

/** How a URL is to be understood. */
export interface LocateOptions {
  /** It is a Cluster, also where INFO is forbidden. */
  readonly cluster: boolean;
  /** Which primary, where a Sentinel watches several. */
  readonly primary: string | undefined;
}

/** Connects, and finds out what is there. Throws a `CliError` where nobody answers. */
export async function locate(
  url: string,
  options: LocateOptions,
): Promise<Located> {
  const node = await openNode(url);
  const { info } = node;
  // Redis; Valkey.
  const mode = info.get('redis_mode') ?? info.get('server_mode');
  if (mode !== 'sentinel') {
    const isCluster = options.cluster || info.get('cluster_enabled') === '1';
    return { node, isCluster };
  }
  try {
    return { isCluster: false, ...(await primaryOf(node, options.primary)) };
  } catch (error) {
    throw isReplyError(error) ? cannotAsk(url, error) : error;
  } finally {
    node.redis.disconnect();
  }
}

/** Connects to one server, and reads what it says of itself. */
export async function openNode(url: string): Promise<DoctorNode> {
  const redis = await connect(url);
  try {
    const text = (await ask(redis.info())) ?? '';
    const fields = Array.from(
      text.matchAll(/^([^#:\r\n]+):(.*?)\r?$/gm),
      ([, name, value]): [string, string] => [name!, value!],
    );
    return { address: addressOf(url), url, redis, info: new Map(fields) };
  } catch (error) {
    redis.disconnect();
    throw cannotAsk(url, error);
  }
}

/** The primary that a Sentinel tells of. */
async function primaryOf(
  { redis, url, address }: DoctorNode,
  wanted: string | undefined,
): Promise<Pick<Located, 'node' | 'sentinel'>> {
  const lines = (await sentinel(redis, 'MASTERS')) as string[][];
  const names = lines.map((line) => line[line.indexOf('name') + 1]!);
  const name = wanted ?? names[0];
  if (name === undefined)
    throw new CliError(`${address} is a Sentinel, and tells of no primary.`);
  if (!names.includes(name))
    throw notAccepted('Option --primary', name, names.join(', '));
  if (wanted === undefined && names.length > 1)
    throw new CliError(
      `${address} is a Sentinel of several primaries; give --primary with one of: ${names.join(', ')}.`,
    );
  const quorum = await sentinel(redis, 'CKQUORUM', name).then(
    String,
    (error: Error) => error.message,
  );
  const [host, port] = (await sentinel(
    redis,
    'GET-MASTER-ADDR-BY-NAME',
    name,
  )) as [string, string];
  const node = await openNode(urlAt(url, host, Number(port)));
  return { node, sentinel: { name, quorum } };
}

const sentinel = (redis: Redis, ...words: string[]): Promise<unknown> =>
  redis.call('SENTINEL', ...words);
