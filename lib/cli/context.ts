import type { Redis } from 'ioredis';
import { isReplyError } from '../connection/server-error.js';
import { slotOf } from '../topology/hash-slot.js';
import type { Arguments } from './arguments.js';
import type { ClusterLine } from './cluster-lines.js';

/** One server that is looked at. */
export interface DoctorNode {
  readonly address: string;
  readonly url: string;
  readonly redis: Redis;
  /** Fields of INFO; none where it is forbidden. */
  readonly info: ReadonlyMap<string, string>;
  /** Its slots, where it is of a Cluster. */
  readonly slots?: readonly (readonly [number, number])[];
}

/** What checks work on. The doctor makes it, and closes its connections. */
export interface CheckContext {
  readonly url: string;
  readonly args: Arguments;
  readonly database: number;
  readonly patterns: readonly string[];
  readonly group: string | undefined;
  readonly namespace: string;
  readonly measureMs: number;
  readonly readOnly: boolean;
  /** Primaries; or the one server that was named, whatever it is. */
  readonly nodes: readonly DoctorNode[];
  readonly isCluster: boolean;
  /** Everything that a Cluster's node says of the Cluster. */
  readonly clusterLines: readonly ClusterLine[];
  /** Sentinel's words about the primary, where the URL is that of a Sentinel. */
  readonly sentinel?: { readonly name: string; readonly quorum: string };
  /** Members of the Cluster that could not be reached, and why. */
  readonly unreachable: readonly { address: string; reason: string }[];
}

/** The reply, or undefined where the server refuses the command. Rejects where it gives no answer. */
export async function ask<T>(reply: Promise<T>): Promise<T | undefined> {
  try {
    return await reply;
  } catch (error) {
    if (isReplyError(error)) return undefined;
    throw error;
  }
}

/** A server's setting, or undefined where CONFIG is forbidden. */
export async function setting(
  redis: Redis,
  name: string,
): Promise<string | undefined> {
  const reply = await ask(redis.config('GET', name));
  return (reply as [string, string?] | undefined)?.[1];
}

/** A line to paste into a shell, that runs a command on a server; a password is asked for, or taken from REDISCLI_AUTH. */
export function pasteable(
  { url }: Pick<DoctorNode, 'url'>,
  ...words: readonly string[]
): string {
  const { protocol, hostname, port, pathname } = new URL(url);
  const where =
    protocol === 'unix:'
      ? ['-s', pathname]
      : ['-h', hostname, '-p', port || '6379'];
  const tls = protocol === 'rediss:' ? ['--tls'] : [];
  return ['redis-cli', ...where, ...tls, ...words].map(quoted).join(' ');
}

const quoted = (word: string): string =>
  /^[\w@+:./,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** The name of a key that this server serves, by its beginning. */
export function ownKey({ slots }: DoctorNode, prefix: string): string {
  if (!slots) return prefix;
  for (let n = 0; ; n++) {
    const key = `${prefix}{${n}}`;
    const slot = slotOf(key);
    if (slots.some(([from, to]) => from <= slot && slot <= to)) return key;
  }
}
