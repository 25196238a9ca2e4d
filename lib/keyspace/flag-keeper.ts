import type { CommandClient } from '../connection/command-client.js';
import {
  isForbidden,
  isLoading,
  isReplyError,
} from '../connection/server-error.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../log.js';
import { type NeededFlags, NotificationFlags } from './notification-flags.js';

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
  /** Letters that the server turned out not to know. */
  readonly #unknown = new Set<string>();

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
      if (isReplyError(error) && !isLoading(error)) return undefined;
      throw error;
    }
  }

  /** The letters that are wanted and off, of those that the server knows. */
  lacking(flags: NotificationFlags, { wanted }: NeededFlags): string {
    // A server that cannot announce keys that are created can still announce their deadlines.
    const letters = this.#unknown.has('n') ? wanted.replace('n', 'g') : wanted;
    return Array.from(letters)
      .filter((letter) => !flags.has(letter) && !this.#unknown.has(letter))
      .join('');
  }

  /**
   * Adds what is missing, and what is lacking if the server knows it. `unsure`: classes that may be
   * on unseen, and are kept if the server knows them. Returns the flags as they are then.
   */
  async complete(
    flags: NotificationFlags,
    needed: NeededFlags,
    unsure: string,
  ): Promise<NotificationFlags> {
    let missing = flags.missing(needed);
    let kept = unsure;
    for (;;) {
      const lacking = this.lacking(flags, needed);
      if (this.mode !== 'ensure' || missing + lacking === '') return flags;
      const wanted = flags.plus(kept + missing + lacking);
      const refusal = await this.#write(flags, wanted);
      if (!refusal) {
        const text = (await this.read())?.text ?? '';
        const now = new NotificationFlags(text);
        if (wanted.hides) return wanted.plus(text);
        // Some proxies say yes and do nothing: not asked again.
        for (const letter of lacking)
          if (!now.has(letter)) this.#unknown.add(letter);
        return now;
      }
      if (isForbidden(refusal)) return flags;
      // An older server, or another kind: it rejects the whole for one letter that it does not know.
      if (kept !== '') kept = kept.slice(0, -1);
      else if (lacking !== '') this.#unknown.add(lacking[0]!);
      else if (missing.includes('K')) missing = missing.replace('K', 'E');
      else return flags;
    }
  }

  async #write(
    from: NotificationFlags,
    to: NotificationFlags,
  ): Promise<Error | undefined> {
    try {
      await this.commands.run((redis) =>
        redis.config('SET', PARAMETER, to.text),
      );
      this.log.log(
        `${this.address}: ${PARAMETER} was "${from.text}", set to "${to.text}"`,
      );
      return undefined;
    } catch (error) {
      if (!isReplyError(error)) throw error;
      this.log.debug(
        `${this.address}: CONFIG SET ${PARAMETER} ${to.text} was refused: ${reasonOf(error)}`,
      );
      return error;
    }
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
