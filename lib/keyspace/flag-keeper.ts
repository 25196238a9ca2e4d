import type { CommandClient } from '../connection/command-client.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../log.js';
import { type NeededFlags, NotificationFlags } from './notification-flags.js';
import { isReplyError } from './redis-node.js';

/** What the module does about `notify-keyspace-events`: see `RedisExpiryModuleOptions.notifications`. */
export type NotificationsMode = 'ensure' | 'verify' | 'off';

const PARAMETER = 'notify-keyspace-events';

/**
 * Reads and completes one server's `notify-keyspace-events`.
 *
 * Guarantees: never drops a flag, never writes when nothing is missing, and in the modes `verify`
 * and `off` never writes at all. Merging is not atomic in Redis: the value is read back.
 */
export class FlagKeeper {
  constructor(
    private readonly mode: NotificationsMode,
    private readonly commands: CommandClient,
    private readonly address: string,
    private readonly log: Log,
  ) {}

  /** The server's flags; undefined where it forbids CONFIG, or the module is not to look. */
  async read(): Promise<NotificationFlags | undefined> {
    if (this.mode === 'off') return undefined;
    try {
      const reply = await this.commands.run((redis) =>
        redis.config('GET', PARAMETER),
      );
      const text = (reply as [string, string?])[1];
      return text === undefined ? undefined : new NotificationFlags(text);
    } catch (error) {
      if (isReplyError(error) && !/^LOADING/.test(error.message))
        return undefined;
      throw error;
    }
  }

  /**
   * Adds what is missing, and returns the flags as they are then. `hidden` tells which classes are
   * on that the server does not print: it is asked for only where writing could drop one.
   */
  async complete(
    flags: NotificationFlags,
    needed: NeededFlags,
    hidden: () => Promise<string>,
  ): Promise<NotificationFlags> {
    const missing = flags.missing(needed);
    if (this.mode !== 'ensure' || missing === '') return flags;
    const kept = flags.hides ? await hidden() : '';
    // Some servers know the family E only.
    const attempts = [missing, missing.replace('K', 'E')];
    for (const letters of new Set(attempts)) {
      try {
        const value = flags.plus(kept + letters);
        await this.commands.run((redis) =>
          redis.config('SET', PARAMETER, value),
        );
        this.log.log(
          `${this.address}: ${PARAMETER} was "${flags.text}", set to "${value}"`,
        );
        break;
      } catch (error) {
        if (!isReplyError(error)) throw error;
        this.log.debug(
          `${this.address}: CONFIG SET ${PARAMETER} was refused: ${reasonOf(error)}`,
        );
      }
    }
    return (await this.read()) ?? flags;
  }
}

/** What to ask of whoever runs the server. */
export function flagsAdvice(needed: NeededFlags): string {
  const letters = [...needed.letters].join('');
  const value = /[KE]/.test(letters) ? letters : `E${letters}`;
  return (
    `Ask the operator of the server to add "${value}" to ${PARAMETER} ` +
    '(managed services: a parameter group or an instance setting)'
  );
}
