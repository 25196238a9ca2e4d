import type { CommandClient } from '../connection/command-client.js';
import { isForbidden } from '../connection/server-error.js';
import { RedisExpiryError } from '../errors/redis-expiry.error.js';
import type { Log } from '../log.js';

/**
 * Looks whether a server can carry a group. Rejects with `GROUP_REFUSED` where it cannot: a replica,
 * or older than 6.2. Warns where it may lose what the group depends on. Says nothing where INFO is
 * forbidden.
 */
export async function checkServer(
  commands: CommandClient,
  group: string,
  log: Log,
): Promise<void> {
  let info: string;
  try {
    info = await commands.run((redis) => redis.info());
  } catch (error) {
    if (isForbidden(error)) return;
    throw error;
  }
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const refuse = (why: string): never => {
    throw new RedisExpiryError(
      'GROUP_REFUSED',
      `Group "${group}" cannot work on this server: ${why}.`,
    );
  };
  if (field('role') === 'slave')
    refuse('it is a replica, and the group writes; connect to the primary');
  const [major = 7, minor = 0] = (field('redis_version') ?? '')
    .split('.')
    .map(Number);
  if (major < 6 || (major === 6 && minor < 2))
    refuse(`it is Redis ${major}.${minor}; accepted: 6.2 or newer`);
  const policy = field('maxmemory_policy');
  if (policy?.startsWith('allkeys')) {
    log.warn(
      `Group "${group}": maxmemory-policy is ${policy}, so the server may evict the group's own keys, and with them ` +
        'deadlines and events. Use noeviction, or a volatile- policy',
    );
  }
}
