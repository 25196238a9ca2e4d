import type { Commands } from '../connection/commands.js';
import {
  type ReplyCode,
  codeOfText,
  isDenied,
  isLoginRefused,
  isReadOnly,
  missingCommand,
} from '../connection/server-error.js';
import { refusedRead } from '../deadlines/value-access.js';
import type { ValueWishes } from '../deadlines/value-reader.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import { slotOf } from '../topology/hash-slot.js';
import type { Log } from '../util/log.js';
import type { GroupKeys } from './group-keys.js';
import type { Partition } from './partition.js';
import { PROBE } from '../scripts/probe.lua.js';

/**
 * Looks whether the server of a partition can carry a group. Rejects with `GROUP_REFUSED` where it cannot: a replica,
 * older than 6.2, or a server that refuses a command that a group needs, which the error names. Warns
 * where the server may lose what the group depends on.
 */
export async function checkServer(
  { commands, keys }: Partition,
  group: string,
  log: Log,
): Promise<void> {
  const refuse = (why: string): never => {
    throw new RedisExpiryError(
      'GROUP_REFUSED',
      `Group "${group}" cannot work on this server: ${why}.`,
    );
  };
  const field = await infoOf(commands);
  if (field('role') === 'slave')
    refuse('it is a replica, and the group writes; connect to the primary');
  const [major, minor] = (field('redis_version') ?? '7.0')
    .split('.')
    .map(Number) as [number, number];
  if (major < 6 || (major === 6 && minor < 2))
    refuse(`it is Redis ${major}.${minor}; accepted: 6.2 or newer`);
  const refusal = await refusalOf(commands, keys);
  if (refusal !== undefined) refuse(refusal);
  const policy = field('maxmemory_policy');
  if (policy?.startsWith('allkeys')) {
    log.warn(
      `Group "${group}": maxmemory-policy is ${policy}, so the server may evict the group's own keys, and with them ` +
        'deadlines and events. Use noeviction, or a volatile- policy',
    );
  }
}

/** Reads a field of what the server says of itself; every field is undefined where it does not let itself be asked. */
async function infoOf(
  commands: Commands,
): Promise<(name: string) => string | undefined> {
  let info = '';
  try {
    info = await commands.run((redis) => redis.info());
  } catch (error) {
    if (!isDenied(error)) throw error;
  }
  return (name) => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
}

/** The server takes no writes now. It says itself why, and what its operator can do. */
const noWrites = (): string =>
  'it refuses writes for now, and a group writes; start it again once the server takes writes';

/** What a refusal of a command that a group needs is to be told as. */
const REFUSALS: Partial<Record<ReplyCode, (command: string) => string>> = {
  UNKNOWN_COMMAND: (command) =>
    `it has no command ${command}, and a group needs it`,
  NOPERM: (command) =>
    `the user of the connection may not use ${command} on the group's keys; docs/07-redis-settings-and-acl.md lists the permissions that a group needs`,
  NOREPLICAS: noWrites,
  MISCONF: noWrites,
  OOM: noWrites,
  READONLY: () =>
    'it is a replica, and the group writes; connect to the primary',
};

/** Why a group cannot work, in words; undefined if it can. */
async function refusalOf(
  commands: Commands,
  { probe }: GroupKeys,
): Promise<string | undefined> {
  const refused = (await commands.run((redis) =>
    PROBE.run(redis, [probe]),
  )) as string[];
  for (let i = 0; i < refused.length; i += 2) {
    const [command, text] = [refused[i]!, refused[i + 1]!];
    const code = codeOfText(text);
    const refusal = REFUSALS[code]?.(command);
    if (refusal !== undefined) return `${refusal} (${text})`;
  }
  return undefined;
}

/** Rejects with `GROUP_REFUSED` where the values that are asked for cannot be read. */
export async function checkValues(
  { commands }: Partition,
  group: string,
  wishes: ValueWishes,
): Promise<void> {
  const refused = await refusedRead(commands, wishes);
  if (!refused) return;
  const { command, text } = refused;
  throw new RedisExpiryError(
    'GROUP_REFUSED',
    `Group "${group}" cannot read values on this server: a handler has the option value, and the user of the connection may not use ${command}; ` +
      `docs/07-redis-settings-and-acl.md lists the permissions that values need (${text}).`,
  );
}

/** What a server says that refuses a group at its start, in terms of what the user can do. */
export function explained(error: unknown, group: string): unknown {
  if (isLoginRefused(error)) {
    return new RedisExpiryError(
      'CONNECT_FAILED',
      `Redis refuses the connection: ${reasonOf(error)}`,
      { cause: error },
    );
  }
  if (!isDenied(error) && !isReadOnly(error)) return error;
  const missing = missingCommand(reasonOf(error));
  return new RedisExpiryError(
    'GROUP_REFUSED',
    missing === undefined
      ? `Group "${group}" may not work on this server: ${reasonOf(error)}. docs/07-redis-settings-and-acl.md lists the permissions that a group needs.`
      : `Group "${group}" cannot work on this server: it has no command ${missing}, and a group needs it (${reasonOf(error)}).`,
    { cause: error },
  );
}

/** Scripts that use several keys of a partition need them on one node. Throws `GROUP_REFUSED`. */
export function checkOneSlot(
  group: string,
  keys: GroupKeys,
  keyPrefix: string,
): void {
  const names = Object.values(keys) as string[];
  // And on that node of which the tag of the partition says so: other partitions have other tags. With a hash tag in
  // the keyPrefix all keys are on one node, the user's too.
  const slots = new Set([`${keyPrefix}{${group}}`, ...names].map(slotOf));
  if (slots.size === 1) return;
  throw new RedisExpiryError(
    'GROUP_REFUSED',
    `Group "${group}" cannot work on a Cluster: its keys, as ${names[0]}, would not live where their hash tag, {${group}}, says. ` +
      'Let namespace hold no braces, and keyPrefix none or a whole hash tag',
  );
}
