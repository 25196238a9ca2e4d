import { expect, it } from 'vitest';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { Random } from '../../support/random.js';
import { type TestServer, onEveryServer } from '../../support/servers.js';

const KEYS = 600;
const PATTERNS = 6_000;
const BATCH = 500;

/**
 * Before every key and pattern, as in the name of a channel. Without it Redis would find no `**` to
 * match an empty key, and take KEYS with a lone `*` for a different question.
 */
const BEFORE = 'key:';

const bytes = (random: Random, alphabet: readonly number[]): Buffer =>
  Buffer.from(random.some(alphabet, 0, 6));

/** Letters, every special character, and bytes at both ends of what a signed char holds. */
const KEY_BYTES = [
  ...Buffer.from('aabc*?[]^-\\'),
  ...[0x00, 0x01, 0x7f, 0x80, 0xa9, 0xc3, 0xff],
];
const PATTERN_PARTS = [
  ...['a', 'b', 'c', '*', '*', '?', '[', '[', ']', ']', '^', '-', '-', '\\'],
  ...['[a-c]', '[^a]', '[^b-', '\\*', 'é', '\u0080', '\u0001', '[\u0001-é]'],
];

onEveryServer('RedisGlob against Redis itself,', (server) => {
  it('matches the same keys by the same patterns', async () => {
    const random = new Random(20_261_123);
    const keys = new Map<string, Buffer>([['', Buffer.alloc(0)]]);
    while (keys.size < KEYS) {
      const key = bytes(random, KEY_BYTES);
      keys.set(key.toString('latin1'), key);
    }
    await store(server, keys.values());
    expect(await server.redis.dbsize()).toBe(KEYS);

    const seen = { matched: 0, missed: 0 };
    for (let done = 0; done < PATTERNS; done += BATCH) {
      const patterns = Array.from({ length: BATCH }, () =>
        random.some(PATTERN_PARTS, 0, 7).join(''),
      );
      const answers = await Promise.all(
        patterns.map((pattern) => server.redis.keysBuffer(BEFORE + pattern)),
      );
      const different = patterns.filter((pattern, i) => {
        const glob = new RedisGlob(pattern);
        const ours = [...keys.values()].filter((key) => glob.test(key));
        seen.matched += ours.length;
        seen.missed += KEYS - ours.length;
        return !sameKeys(ours, answers[i]!);
      });
      expect(different).toEqual([]);
    }
    // Else the patterns would be too strict or too lax to tell anything.
    expect(seen.matched).toBeGreaterThan(50_000);
    expect(seen.missed).toBeGreaterThan(50_000);
  });

  it('agrees on every byte in every class of two bytes', async () => {
    const everyByte = Array.from({ length: 256 }, (_, b) => Buffer.from([b]));
    await store(server, everyByte);
    const ends = ['\u0000', '-', 'a', 'z', '\u007f', '\u0080', 'é', '\uffff'];
    const patterns = ends.flatMap((from) =>
      ends.flatMap((to) => [`[${from}-${to}]`, `[^${from}-${to}]`]),
    );

    for (const pattern of patterns) {
      const glob = new RedisGlob(pattern);
      const ours = everyByte.filter((key) => glob.test(key));
      const theirs = await server.redis.keysBuffer(BEFORE + pattern);
      expect([pattern, sameKeys(ours, theirs)]).toEqual([pattern, true]);
    }
  });
});

async function store(server: TestServer, keys: Iterable<Buffer>) {
  await server.redis.mset(
    [...keys].flatMap((key) => [Buffer.concat([Buffer.from(BEFORE), key]), '']),
  );
}

function sameKeys(ours: readonly Buffer[], theirs: readonly Buffer[]): boolean {
  const texts = new Set(ours.map((key) => BEFORE + key.toString('latin1')));
  return (
    ours.length === theirs.length &&
    theirs.every((key) => texts.has(key.toString('latin1')))
  );
}
