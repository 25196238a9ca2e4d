/**
 * What an error reply of a server means: the only place of the module that reads the texts of error
 * replies. Servers say the same in several ways, and wrap what a command in a script was answered
 * with; the tests compare this with the replies of real servers.
 */

/** Replies that name their own code: their first word is it, in capitals. */
const NAMED = [
  'NOPERM',
  'NOAUTH',
  'WRONGPASS',
  'READONLY',
  'MASTERDOWN',
  'LOADING',
  'BUSY',
  'UNBLOCKED',
  'OOM',
  'MISCONF',
  'NOREPLICAS',
  'MOVED',
  'ASK',
  'TRYAGAIN',
  'CLUSTERDOWN',
  'CROSSSLOT',
  'NOSCRIPT',
  'NOGROUP',
  'BUSYGROUP',
  'WRONGTYPE',
  // Of this module's own scripts.
  'LEASE',
  'STALE',
] as const;

/**
 * What a server's error reply says.
 *
 * - `UNKNOWN_COMMAND`: the server has no such command or subcommand, or not in scripts: it is too
 *   old, its operator renamed the command, or it is a managed service without it.
 * - `NO_DATABASE`: there is no database of that number.
 * - `NO_CLUSTER`: it is no node of a Cluster.
 * - `MAX_CLIENTS`: the server takes no more connections.
 * - `NOT_LOCAL`: a script asked for a key that another node of the Cluster serves, or that is on its
 *   way to another node.
 * - `LEASE`, `STALE`: the module's own scripts refused: the lease is another's, or a newer request was done.
 * - `ERR`: anything else.
 *
 * The others are as Redis calls them.
 */
export type ReplyCode =
  | (typeof NAMED)[number]
  | 'UNKNOWN_COMMAND'
  | 'NO_DATABASE'
  | 'NO_CLUSTER'
  | 'MAX_CLIENTS'
  | 'NOT_LOCAL'
  | 'ERR';

/** Replies that begin with ERR, by what follows it, and replies that scripts give instead of a code. */
const WORDINGS: readonly [wording: RegExp, code: ReplyCode][] = [
  // Redis 6.2 and 7; Redis 8 and Valkey.
  [/^The user executing the script can't /, 'NOPERM'],
  [/^ACL failure in script: /, 'NOPERM'],
  // A server with an ACL says WRONGPASS; these say that there is no password, or are of older servers.
  [/^(invalid password|AUTH <password> called|Client sent AUTH)/, 'WRONGPASS'],
  [/^unknown (sub)?command/i, 'UNKNOWN_COMMAND'],
  // In a script: Redis; Valkey.
  [/^Unknown (Redis )?command called from /, 'UNKNOWN_COMMAND'],
  [/^This \w+ command is not allowed from /, 'UNKNOWN_COMMAND'],
  // Managed services: Upstash; Alibaba.
  [/^Command is not available: /, 'UNKNOWN_COMMAND'],
  [/^command '?\w+'? not support/, 'UNKNOWN_COMMAND'],
  [/^DB index is out of range/, 'NO_DATABASE'],
  [/^This instance has cluster support disabled/, 'NO_CLUSTER'],
  [/^max number of clients reached/, 'MAX_CLIENTS'],
  // Redis and Valkey 8; Valkey 9.
  [/^(Script a|A)ttempted to access a non local key /, 'NOT_LOCAL'],
  [/ while the cluster is down/, 'CLUSTERDOWN'],
  [/undeclared keys were accessed during rehashing/, 'TRYAGAIN'],
];

/** How Redis 6.2 wraps what a command in a script was answered with. */
const WRAPPED =
  /^ERR Error running script \(call to \w+\): (?:@?\w+: ?\d+: )*-?/;

/** What the text of an error reply says: for where only the text is left of it. */
export function codeOfText(text: string): ReplyCode {
  const plain = text.replace(WRAPPED, '');
  const [word = ''] = /^[A-Z]+/.exec(plain) ?? [];
  const named = NAMED.find((code) => code === word);
  if (named) return named;
  const rest = plain.replace(/^ERR /, '');
  return WORDINGS.find(([wording]) => wording.test(rest))?.[1] ?? 'ERR';
}

/** An error that a server answered with, as ioredis hands it on. */
export interface ReplyError extends Error {
  readonly name: 'ReplyError';
}

/** Whether the server answered with this error, as opposed to a connection that failed. */
export const isReplyError = (error: unknown): error is ReplyError =>
  error instanceof Error && error.name === 'ReplyError';

/** Whether the text of an error reply says that the ACL forbids the key, and not the command. Redis 6.2 and 7; Redis 8 and Valkey. */
export const forbidsKey = (text: string): boolean =>
  text.includes("can't access at least one of the keys") ||
  text.includes('No permissions to access a key');

/**
 * What a server's error reply says; undefined for an error that is none. Of a transaction that was
 * discarded it is what the first command was refused for.
 */
export function replyCode(error: unknown): ReplyCode | undefined {
  if (!isReplyError(error)) return undefined;
  // ioredis has them in an EXECABORT.
  const { previousErrors } = error as { previousErrors?: readonly unknown[] };
  const [first] = previousErrors ?? [];
  return replyCode(first) ?? codeOfText(error.message);
}

const oneOf = (...codes: ReplyCode[]) => {
  const set: ReadonlySet<ReplyCode | undefined> = new Set(codes);
  return (error: unknown): error is ReplyError => set.has(replyCode(error));
};

/** The server's ACL forbids the command, a key or a channel. */
export const isForbidden = oneOf('NOPERM');

/** The server does not have the command, or not in scripts. */
export const isUnknownCommand = oneOf('UNKNOWN_COMMAND');

/** The server will not do it however often it is asked: its ACL forbids it, or it has no such command. */
export const isDenied = oneOf('NOPERM', 'UNKNOWN_COMMAND');

/** The server takes no writes for now: too few replicas, no room, or it cannot save to disk. Reads go on. */
export const isWriteRefused = oneOf('NOREPLICAS', 'OOM', 'MISCONF');

/** The server is a replica, and was asked to write. */
export const isReadOnly = oneOf('READONLY');

/** The key lives on another node by now, or is on its way there: the reply says where. */
export const isRedirect = oneOf('MOVED', 'ASK');

/** The server did nothing, as the keys live elsewhere, are on their way, or their slot is served by nobody. */
export const isElsewhere = oneOf(
  'MOVED',
  'ASK',
  'TRYAGAIN',
  'CLUSTERDOWN',
  'READONLY',
);

/** The server refuses what it may well do a moment later: the same is to be asked again. */
export const isRetriable = oneOf(
  'LOADING',
  'BUSY',
  'UNBLOCKED',
  'MASTERDOWN',
  'MAX_CLIENTS',
  'TRYAGAIN',
  'CLUSTERDOWN',
  'NOREPLICAS',
  'OOM',
  'MISCONF',
);

const TRIED_AGAIN: readonly ReplyCode[] = [
  ...(['MOVED', 'ASK', 'TRYAGAIN', 'CLUSTERDOWN'] as const),
  ...(['READONLY', 'LOADING', 'MASTERDOWN'] as const),
];

/** The server did nothing, and it or another one may do it a moment later, as it is about to start or was demoted. */
export const isTriedAgain = oneOf(...TRIED_AGAIN);

/** As `isTriedAgain`, of the text of an error reply. */
export const isTriedAgainText = (text: string): boolean =>
  TRIED_AGAIN.includes(codeOfText(text));

/** The server is loading its data: what it says of itself now is not what it will say. */
export const isLoading = oneOf('LOADING');

/** The server does not have the script: its text has to be sent. */
export const isUnknownScript = oneOf('NOSCRIPT');

/** There is no such consumer group, or no such stream. */
export const isMissingGroup = oneOf('NOGROUP');

/** The consumer group that was to be made is there. */
export const isExistingGroup = oneOf('BUSYGROUP');

/** One of the module's own scripts refused: the lease is another's, or a newer request was done. */
export const isFenced = oneOf('LEASE', 'STALE');

/** The server refuses the name, the password or the lack of them. */
export const isLoginRefused = oneOf('WRONGPASS', 'NOAUTH');

/** What no later try to connect and to listen will make right. */
const HOPELESS: ReadonlySet<ReplyCode> = new Set([
  'WRONGPASS',
  'NOAUTH',
  'NO_DATABASE',
  'NO_CLUSTER',
  'UNKNOWN_COMMAND',
]);

/**
 * Whether an error whose text this is says that no later try to connect and to listen will succeed. The
 * text may begin with an address.
 */
export const isHopeless = (text: string): boolean =>
  HOPELESS.has(codeOfText(text.replace(/^\S+:\d+: /, '')));

/**
 * The command, in small letters, that the text of a reply names as forbidden or unknown; undefined
 * where it names none, as it does for a key, and mostly for what a script ran.
 */
function commandOfText(text: string): string | undefined {
  const named =
    /(?:run the|command|available:) ['`]([\w|-]+)['`]/i.exec(text) ??
    /^ERR command (\w+) not/.exec(text);
  return named?.[1]!.toLowerCase();
}

/**
 * The command, in capitals, that the server does not have, by the text of its reply; undefined where
 * the reply says something else.
 */
export function missingCommand(text: string): string | undefined {
  if (codeOfText(text) !== 'UNKNOWN_COMMAND') return undefined;
  return (commandOfText(text) ?? 'the command').toUpperCase();
}

/** As `commandOfText`, of an error; undefined for one that says something else. */
export const refusedCommand = (error: unknown): string | undefined =>
  isDenied(error) ? commandOfText(error.message) : undefined;

/** What the ACL forbids of a command, by the text of its reply or by what ACL DRYRUN says of it. */
export function forbiddenPart(text: string): 'command' | 'key' | 'channel' {
  // Names of keys and channels may hold any word.
  const plain = text.replace(/'.*'/s, '');
  if (/\bchannels?\b/.test(plain)) return 'channel';
  return /\bkeys?\b/.test(plain) ? 'key' : 'command';
}

/** Where a Cluster's node says that a key lives; undefined for an error that is no redirect. */
export function redirectOf(
  error: unknown,
): { endpoint: string; asking: boolean } | undefined {
  if (!isRedirect(error)) return undefined;
  const [kind, , endpoint = ''] = error.message.split(' ');
  return { endpoint, asking: kind === 'ASK' };
}
