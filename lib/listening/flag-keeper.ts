import type { CommandClient } from '../connection/command-client.js';
import {
  isDenied,
  isLoading,
  isReplyError,
} from '../connection/server-error.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import {
  type NeededFlags,
  NotificationFlags,
  choicesOf,
  portionsOf,
} from './notification-flags.js';

/** What the module does about `notify-keyspace-events`: see `RedisExpiryModuleOptions.notifications`. */
export type NotificationsMode = 'ensure' | 'verify' | 'off';

const PARAMETER = 'notify-keyspace-events';

/** Writes of a letter without effect, after which it is not asked for any more. */
const MOST_WITHOUT_EFFECT = 3;

/**
 * Reads and completes one server's `notify-keyspace-events`.
 *
 * Guarantees: never drops a flag that it knows of, printed or not, never writes when nothing is
 * missing, and in the modes `verify` and `off` never writes at all. Merging is not atomic in Redis:
 * the value is read back.
 */
export class FlagKeeper {
  /** Letters that the server turned out not to know. */
  readonly #unknown = new Set<string>();
  /** How often each letter that is only wanted was written, and was not on afterwards. */
  readonly #withoutEffect = new Map<string, number>();
  /** The ACL forbade the newest write. */
  #forbidden = false;
  /** What it printed after the newest write, and letters of that write that it keeps to itself. */
  #written: { readonly printed: string; readonly hidden: string } | undefined;

  constructor(
    private readonly mode: NotificationsMode,
    private readonly commands: CommandClient,
    private readonly address: string,
    private readonly log: Log,
  ) {}

  /** The server's flags; undefined where it forbids CONFIG, or the module is not to look. */
  async read(): Promise<NotificationFlags | undefined> {
    const text = await this.#readText();
    if (text === undefined) return undefined;
    const flags = new NotificationFlags(text);
    return text === this.#written?.printed
      ? flags.plus(this.#written.hidden)
      : flags;
  }

  /** The letters that are needed or wanted, and off, of those that the server knows. */
  lacking(flags: NotificationFlags, needed: NeededFlags): string {
    // Another kind of server may know one family only.
    const missing = this.#instead('K', 'E', flags.missing(needed));
    const letters = missing + this.#wanted(needed);
    return Array.from(new Set(letters))
      .filter((letter) => !this.#unknown.has(letter) && !flags.has(letter))
      .join('');
  }

  /** Of some letters those that the server turned out not to know. */
  unknownOf(letters: string): string {
    return Array.from(letters)
      .filter((letter) => this.#unknown.has(letter))
      .join('');
  }

  /**
   * Adds what is missing and what is wanted, of what the server knows. `unsure`: classes that may be
   * on unseen, and are kept if the server knows them. Returns the flags as they are then.
   */
  async complete(
    flags: NotificationFlags,
    needed: NeededFlags,
    unsure: string,
  ): Promise<NotificationFlags> {
    if (this.mode !== 'ensure' || this.lacking(flags, needed) === '')
      return flags;
    this.#forbidden = false;
    let now = await this.#keepUnseen(flags, unsure);
    let before = '';
    for (;;) {
      const letters = this.lacking(now, needed);
      if (letters === before || this.#forbidden) return now;
      before = letters;
      // In one go, as most servers know all of them.
      const done = await this.#add(now, letters, needed);
      if (done) return done;
      // It rejects the whole for one letter that it does not know: it may be an older server, or another kind.
      for (const portion of portionsOf(letters)) {
        if (this.#forbidden) return now;
        const added = await this.#add(now, portion, needed);
        now = added ?? now;
        if (!added && !this.#giveUp(portion)) return now;
      }
    }
  }

  /**
   * Writes the flags with letters that may be on unseen. The first value that is accepted holds all of
   * them that the server knows: each larger choice was refused, so none that is on is dropped.
   */
  async #keepUnseen(
    flags: NotificationFlags,
    unsure: string,
  ): Promise<NotificationFlags> {
    const open = Array.from(unsure).filter(
      (letter) => !this.#unknown.has(letter) && !flags.has(letter),
    );
    for (const choice of choicesOf(open.join(''))) {
      const kept = await this.#add(flags, choice);
      if (this.#forbidden) return flags;
      if (!kept) continue;
      for (const letter of open)
        if (!choice.includes(letter)) this.#unknown.add(letter);
      return kept;
    }
    for (const letter of open) this.#unknown.add(letter);
    return flags;
  }

  /** Does without what the server refused; without expiries there is nothing left to try, which it returns. */
  #giveUp(portion: string): boolean {
    const strangers = portion.includes('K')
      ? ['K']
      : Array.from(portion).filter((letter) => !'Ex'.includes(letter));
    for (const letter of strangers) this.#unknown.add(letter);
    return strangers.length > 0;
  }

  /** Writes the flags with some letters more. Returns what is on then; undefined if the server refuses. */
  async #add(
    flags: NotificationFlags,
    letters: string,
    needed?: NeededFlags,
  ): Promise<NotificationFlags | undefined> {
    const value = flags.plus(letters);
    if (!(await this.#write(flags, value))) return undefined;
    const printed = (await this.#readText()) ?? '';
    const now = new NotificationFlags(printed);
    if (value.hides) {
      const hidden = Array.from(value.text).filter((l) => !now.has(l));
      this.#written = { printed, hidden: hidden.join('') };
      return value.plus(printed);
    }
    for (const letter of needed ? this.#wanted(needed) : '')
      if (letters.includes(letter)) this.#noteEffect(letter, now.has(letter));
    return now;
  }

  /**
   * Some proxies say yes and do nothing: what is only wanted is not asked of them for ever. But another
   * client that read the flags before this write and wrote after it undid it, without knowing: two
   * instances do that to each other after a restart of the server. That happens once, not every time.
   */
  #noteEffect(letter: string, isOn: boolean): void {
    const times = isOn ? 0 : (this.#withoutEffect.get(letter) ?? 0) + 1;
    this.#withoutEffect.set(letter, times);
    if (times >= MOST_WITHOUT_EFFECT) this.#unknown.add(letter);
  }

  /** A server that cannot announce keys that are created can still announce their deadlines. */
  #wanted({ wanted }: NeededFlags): string {
    return this.#instead('n', 'g', wanted);
  }

  #instead(letter: string, other: string, letters: string): string {
    return this.#unknown.has(letter) ? letters.replace(letter, other) : letters;
  }

  async #readText(): Promise<string | undefined> {
    if (this.mode === 'off') return undefined;
    try {
      const reply = await this.commands.run((redis) =>
        redis.config('GET', PARAMETER),
      );
      return (reply as [string, string?])[1];
    } catch (error) {
      if (isReplyError(error) && !isLoading(error)) return undefined;
      throw error;
    }
  }

  /** Whether the server took the value. */
  async #write(
    from: NotificationFlags,
    to: NotificationFlags,
  ): Promise<boolean> {
    try {
      await this.commands.run((redis) =>
        redis.config('SET', PARAMETER, to.text),
      );
      this.log.log(
        `${this.address}: ${PARAMETER} was "${from.text}", set to "${to.text}"`,
      );
      this.#forbidden = false;
      return true;
    } catch (error) {
      if (!isReplyError(error) || isLoading(error)) throw error;
      this.#forbidden = isDenied(error);
      this.log.debug(
        `${this.address}: CONFIG SET ${PARAMETER} ${to.text} was refused: ${reasonOf(error)}`,
      );
      return false;
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
