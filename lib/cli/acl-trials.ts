import type { AclNeeds } from './acl-rules.js';
import { commandsOf } from './acl-rules.js';

/** A command as it could be sent, to find out whether a user may. */
export interface Trial {
  /** As the ACL names it. */
  readonly command: string;
  readonly words: readonly string[];
  /** Sending it changes nothing. */
  readonly isHarmless: boolean;
}

/** What would change something, or leave the connection in another state. */
const NOT_SENT = new Set(
  'rpush hset config|set unsubscribe punsubscribe client|setname asking'.split(
    ' ',
  ),
);

/** One command or more for each that the module needs, on keys that match the patterns or are the module's own. */
export function trialsOf(needs: AclNeeds, group: string | undefined): Trial[] {
  const { patterns, database, namespace } = needs;
  const proof = `${namespace}:self-test:doctor`;
  const own = group === undefined ? proof : `${namespace}:{${group}}:probe`;
  const channel = (key: string): string => `__keyspace@${database}__:${key}`;
  const each = (words: (pattern: string) => string[]): string[][] =>
    patterns.length === 0 ? [words(proof)] : patterns.map(words);
  const wordsOf = (command: string): string[][] => {
    const args = ARGUMENTS[command];
    if (command === 'psubscribe')
      return each((pattern) => [command, channel(pattern)]);
    if (command === 'exists' || command === 'pexpiretime')
      return each((pattern) => [command, sampleOf(pattern)]);
    if (command === 'subscribe') return [[command, channel(proof)]];
    const words = (args ?? '').replaceAll('KEY', own).split(' ');
    return [[...command.split('|'), ...words.filter((word) => word !== '')]];
  };
  return commandsOf(needs).flatMap((command) =>
    wordsOf(command).map((words) => ({
      command,
      words,
      isHarmless: !NOT_SENT.has(command),
    })),
  );
}

const ELSEWHERE = 'nestjs-redis-expiry-doctor:none';

/** Whether a user may use every key: no rule for keys can be added then. */
export const EVERY_KEY: readonly Trial[] = ['exists', 'get', 'zcard'].map(
  (command) => ({ command, words: [command, ELSEWHERE], isHarmless: true }),
);

/** Whether a user may hear every channel. */
export const EVERY_CHANNEL: readonly Trial[] = [
  {
    command: 'subscribe',
    words: ['subscribe', ELSEWHERE],
    isHarmless: true,
  },
];

/** A key that a pattern matches. */
export const sampleOf = (pattern: string): string =>
  pattern.replace(
    /\\(.)|[*?]|\[\^?([^\]])[^\]]*\]/g,
    (wild: string, escaped?: string, member?: string) =>
      escaped ?? member ?? (wild === '*' ? 'nestjs-redis-expiry-doctor' : '0'),
  );

/** What follows each command. On a key that does not exist none of them, but those of `NOT_SENT`, creates it. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  punsubscribe: 'none',
  unsubscribe: 'none',
  scan: '0 COUNT 1 MATCH none',
  eval: 'return(1) 0',
  evalsha: `${'0'.repeat(40)} 0`,
  set: 'KEY 0 XX',
  get: 'KEY',
  del: 'KEY',
  rpush: 'KEY 0',
  pexpire: 'KEY 1',
  'config|get': 'notify-keyspace-events',
  'config|set': 'notify-keyspace-events Kxn',
  'client|setname': 'nestjs-redis-expiry-cli',
  'client|unblock': '0',
  zadd: 'KEY XX 0 0',
  zrem: 'KEY 0',
  zcard: 'KEY',
  zrange: 'KEY 0 0',
  zrangebyscore: 'KEY 0 0',
  zremrangebyscore: 'KEY 0 0',
  zscan: 'KEY 0',
  zmscore: 'KEY 0',
  hset: 'KEY 0 0',
  hmget: 'KEY 0',
  hdel: 'KEY 0',
  xadd: 'KEY NOMKSTREAM * 0 0',
  xdel: 'KEY 0-1',
  xlen: 'KEY',
  xrange: 'KEY - +',
  xgroup: 'CREATE KEY none 0',
  xreadgroup: 'GROUP none none STREAMS KEY >',
  xack: 'KEY none 0-1',
  xpending: 'KEY none',
  xclaim: 'KEY none none 0 0-1',
  xautoclaim: 'KEY none none 0 0',
  xinfo: 'STREAM KEY',
};
