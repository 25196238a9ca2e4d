import type { Redis } from 'ioredis';
import type { CommandClient } from '../connection/command-client.js';
import { isReplyError, refusedCommand } from '../connection/server-error.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { escapeGlob } from '../dispatch/redis-glob.js';
import {
  type ChannelFamily,
  keyeventChannel,
  keyspaceChannel,
} from './channels.js';
import { HIDDEN_CLASSES } from './notification-flags.js';
import type { SessionChannels } from './session-channels.js';
import type { RedisNode } from '../topology/redis-node.js';

/** What a self-test found out. */
export interface SelfTestResult {
  /** `unavailable`: the module may not write its test key, or not listen for it. */
  readonly outcome: 'passed' | 'failed' | 'unavailable';
  /** The families of channels on which the expiry of the test key was heard. */
  readonly heardOn: ReadonlySet<ChannelFamily>;
  /** Letters of classes that `CONFIG GET` may hide and that were heard. */
  readonly hiddenClasses: string;
  /** The events of the test key that were heard. */
  readonly events: ReadonlySet<string>;
  /** Why it is unavailable. */
  readonly reason?: string;
}

const EVENTS = ['expired', 'expire', ...Object.keys(HIDDEN_CLASSES)];

/**
 * Proves that expiries are heard: a key of the module's own is written, let expire, touched so that
 * Redis announces it at once, and listened for. It works where CONFIG is forbidden, and finds a deaf
 * subscription, a server without flags, and a wrong database. `NodeSetup` runs it.
 *
 * It hears a session's messages only while it runs.
 */
export class SelfTest {
  #key = '';
  #hasTransactions = true;
  #channels: ReadonlyMap<string, ChannelFamily> = new Map();
  #heard: { family: ChannelFamily; event: string }[] = [];

  constructor(
    private readonly database: number,
    private readonly ownPrefix: string,
  ) {}

  /**
   * Runs the test on a session, beside the channels that it is subscribed to, on the families on
   * which it listens. Rejects when a connection is lost.
   */
  async run(
    listened: SessionChannels,
    node: RedisNode,
  ): Promise<SelfTestResult> {
    const { session, router } = listened;
    if (!this.#chooseKey(node, listened.families))
      return unavailable('it serves no keys');
    const own = [...this.#channels.keys()];
    const refused = await session.sync([...listened.channels, ...own]);
    try {
      if (own.every((channel) => refused.has(channel)))
        return unavailable([...refused.values()][0]);
      await router.whileTesting(
        (subscribed, message) => {
          const family = this.#hear(subscribed, message);
          if (family) listened.heardTest(family);
        },
        async () => {
          await this.#expireKey(node.commands);
          // Redis announced it before it answered; what it announced to us comes before this answer.
          await session.ping();
        },
      );
      return this.#result();
    } catch (error) {
      if (!isReplyError(error)) throw error;
      return unavailable(reasonOf(error));
    } finally {
      await session.sync(listened.channels);
    }
  }

  /** Returns the family on which the message tells of the test key, if it does. */
  #hear(subscribed: string, message: Buffer): ChannelFamily | undefined {
    const family = this.#channels.get(subscribed);
    if (!family) return undefined;
    const text = message.toString();
    const isOfKeyspace = family === 'keyspace';
    if (!isOfKeyspace && text !== this.#key) return undefined;
    const event = isOfKeyspace ? text : eventOf(subscribed);
    this.#heard.push({ family, event });
    return family;
  }

  /** A key that lives on this very node: in a Cluster some keys do not, and on some nodes none. */
  #chooseKey(node: RedisNode, families: readonly ChannelFamily[]): boolean {
    const key = node.keyWith(`${this.ownPrefix}self-test:`);
    if (key === undefined) return false;
    this.#key = key;
    const channels: [channel: string, family: ChannelFamily][] = [
      [keyspaceChannel(this.database, escapeGlob(key)), 'keyspace'],
      ...EVENTS.map((event): [string, ChannelFamily] => [
        keyeventChannel(this.database, event),
        'keyevent',
      ]),
    ];
    this.#channels = new Map(
      channels.filter(([, family]) => families.includes(family)),
    );
    return true;
  }

  async #expireKey(commands: CommandClient): Promise<void> {
    this.#heard = [];
    // With a deadline from the first moment on: should the rest be refused, nothing stays.
    await commands.run((redis) => redis.set(this.#key, '1', 'PX', 60_000));
    // A list in between: writing a string over it shows every class that may be hidden.
    await commands.run((redis) => this.#writeList(redis));
    await commands.run((redis) => redis.set(this.#key, '1', 'PX', 1));
    // The touch: Redis removes the key now, and not when its sampling gets there.
    for (let alive = 1, tries = 0; alive && tries < 100; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      alive = await commands.run((redis) => redis.exists(this.#key));
    }
  }

  /** In one step, so that no list stays without a deadline; does nothing where a command is refused. */
  async #writeList(redis: Redis): Promise<void> {
    if (!this.#hasTransactions) return;
    try {
      await redis
        .multi()
        .del(this.#key)
        .rpush(this.#key, '1')
        .pexpire(this.#key, 60_000)
        .exec();
    } catch (error) {
      if (!isReplyError(error)) throw error;
      if (refusedCommand(error) !== 'exec') return;
      // The transaction goes on, and would take up all that comes after.
      this.#hasTransactions = false;
      await redis.discard().catch((refusal: unknown) => {
        if (!isReplyError(refusal)) throw refusal;
      });
    }
  }

  #result(): SelfTestResult {
    const heardOn = new Set(
      this.#heard.filter((h) => h.event === 'expired').map((h) => h.family),
    );
    const hidden = this.#heard.map((h) => HIDDEN_CLASSES[h.event] ?? '');
    return {
      outcome: heardOn.size > 0 ? 'passed' : 'failed',
      heardOn,
      hiddenClasses: [...new Set(hidden)].join(''),
      events: new Set(this.#heard.map(({ event }) => event)),
    };
  }
}

const eventOf = (channel: string): string =>
  channel.slice(channel.indexOf('__:') + 3);

const unavailable = (reason = 'not permitted'): SelfTestResult => ({
  outcome: 'unavailable',
  heardOn: new Set(),
  hiddenClasses: '',
  events: new Set(),
  reason,
});
