import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { aclRules } from '../../../lib/cli/acl-rules.js';
import { sampleOf } from '../../../lib/cli/acl-trials.js';
import { duration } from '../../../lib/cli/duration.js';
import { Output } from '../../../lib/cli/output.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { run } from '../../support/cli/command.js';

const root = new URL('../../../', import.meta.url);

describe('the command line', () => {
  it.each([
    [['--version'], 0, /^\d+\.\d+\.\d+/],
    [['--help'], 0, /Usage: nestjs-redis-expiry/],
    [[], 2, /Usage/],
    [['-h', 'doctor'], 0, /Usage/],
    [['doktor'], 2, /The command is "doktor"; accepted: doctor/],
    [['dead-letters'], 2, /What to do with dead-letters is ""; accepted: dead/],
    [
      ['dead-letters', 'drop'],
      2,
      /What to do with dead-letters is "drop"; acc/,
    ],
    [['doctor'], 2, /The URL is missing; accepted: redis:\/\//],
    [
      ['doctor', 'redis://h', 'redis://i'],
      2,
      /There are words too many: redis/,
    ],
    [['doctor', 'redis://h?keyPrefix=a:'], 2, /by the option --key-prefix/],
    [['doctor', 'unix://'], 2, /The URL is "unix:\/\/"; accepted/],
    [
      ['doctor', 'redis://h', '--all'],
      2,
      /--all is not for doctor; accepted: --p/,
    ],
    [['status', 'redis://h'], 2, /Option --group is missing; status needs/],
    [
      ['status', 'redis://h', '--group', 'a b'],
      2,
      /Option --group is "a b"; acc/,
    ],
    [
      ['status', 'redis://h', '--measure', '1s'],
      2,
      /--measure is not for status/,
    ],
    [
      ['dead-letters', 'list', 'redis://h', '--count', '0'],
      2,
      /--count is "0"; a/,
    ],
    [
      ['dead-letters', 'list', 'redis://h', '--count', '1e3'],
      2,
      /--count is "1e3/,
    ],
    [
      [
        ...['dead-letters', 'list', 'redis://h'],
        '--group',
        'a',
        '--after',
        'b/1-0',
      ],
      2,
      /Option --after is "b\/1-0"; accepted: the id of a letter.*of group "a"/,
    ],
    [
      ['dead-letters', 'show', 'redis://h'],
      2,
      /The id of the letter is missing/,
    ],
    [
      ['dead-letters', 'show', 'redis://h', 'x'],
      2,
      /The id is "x"; accepted: the/,
    ],
    [
      ['dead-letters', 'redrive', 'redis://h'],
      2,
      /Which letters to redrive is mi/,
    ],
    [
      ['dead-letters', 'discard', 'redis://h', '--all'],
      2,
      /--group is missing/,
    ],
    [
      ['dead-letters', 'discard', 'redis://h', 'a/1-0', 'b/1-0'],
      2,
      /The id is "b\/1-0"; accepted: .*of group "a"/,
    ],
    [['doctor', 'http://x'], 2, /The URL is "http:\/\/x"; accepted/],
    [['doctor', 'redis://a:s3cret@h/x'], 2, /The URL is "redis:\/\/a:\*\*\*@h/],
    [
      ['doctor', 'redis://h', '--measure', '20'],
      2,
      /Option --measure is "20"; accepted: a time/,
    ],
    [
      ['doctor', 'redis://h', '--pattern', ''],
      2,
      /Option --pattern is ""; accepted/,
    ],
    [
      ['doctor', 'redis://h', '--patern', 'x'],
      2,
      /'--patern'; accepted: --pattern/,
    ],
  ] as const)('%j', async (argv, code, text) => {
    const ran = await run(...argv);
    expect(code === 0 ? ran.text : ran.errors).toMatch(text);
    expect(code === 0 ? ran.errors : ran.text).toBe('');
    expect(ran.code).toBe(code);
  });
});

describe('the rules of an ACL', () => {
  it.each(['broadcast', 'group'])(
    'are those of the documentation: %s',
    async (mode) => {
      const page = await readFile(
        new URL('docs/07-redis-settings-and-acl.md', root),
        'utf8',
      );
      const [, block] = new RegExp(
        `<!-- acl: ${mode} -->\\s*\`\`\`\\n(.*?)\`\`\``,
        's',
      ).exec(page)!;
      const rules = aclRules({
        patterns: ['device:*'],
        database: 0,
        namespace: 'rx',
        isGroup: mode === 'group',
        isCluster: false,
      });
      expect(rules.toSorted()).toEqual(block!.trim().split(/\s+/).toSorted());
    },
  );

  it('have no white space, which Redis does not take', () => {
    const rules = aclRules({
      ...{ patterns: ['a b*', 'c[d e]'], database: 0, namespace: 'rx' },
      ...{ isGroup: false, isCluster: false },
    });
    expect(rules).toEqual(
      expect.arrayContaining(['~a?b*', '~c?', 'allchannels']),
    );
    expect(rules.filter((rule) => /\s/.test(rule))).toEqual([]);
  });

  it.each(['device:*', 'a?c', 'a[bc]d', String.raw`a\*`])(
    'are tried on a key that %s matches',
    (pattern) => {
      expect(new RedisGlob(pattern).test(Buffer.from(sampleOf(pattern)))).toBe(
        true,
      );
    },
  );
});

it.each([
  [0, '0 ms'],
  [999, '999 ms'],
  [3_440, '3.4 s'],
  [59_999, '60 s'],
  [300_000, '5 min'],
  [7_200_000, '2 h'],
  [864_000_000, '10 d'],
])('%i ms are told as %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});

describe('output', () => {
  const written = (isTTY: boolean, env: NodeJS.ProcessEnv): string => {
    let text = '';
    const output = new Output({ isTTY, write: (more) => (text += more) }, env);
    output.table(['id', 'key'], [['1', output.style('red', 'device:1')]]);
    return text;
  };

  it('is plain in a pipe', () => {
    expect(written(false, {})).toBe('id\tkey\n1\tdevice:1\n');
  });

  it('lines up and has colours on a terminal', () => {
    expect(written(true, {})).toContain('\u001b[31mdevice:1');
  });

  it('has no colours where NO_COLOR is set', () => {
    expect(written(true, { NO_COLOR: '1' })).toBe('id  key\n1   device:1\n');
  });
});

it('the program loads nothing but ioredis and Node', async () => {
  const seen = new Set<string>();
  const outside = new Set<string>();
  const follow = async (file: URL): Promise<void> => {
    if (seen.has(file.href)) return;
    seen.add(file.href);
    const text = await readFile(file, 'utf8');
    for (const [, type, from] of text.matchAll(
      /^(?:import|export)\b(\s+type\b)?[^;'"]*?from '([^']+)';$/gm,
    )) {
      if (type) continue;
      if (!from!.startsWith('.'))
        outside.add(from!.replace(/^node:.*/, 'node'));
      else await follow(new URL(from!.replace(/\.js$/, '.ts'), file));
    }
  };
  await follow(new URL('lib/cli/bin.ts', root));
  expect([...outside].toSorted()).toEqual(['ioredis', 'node']);
  expect(seen.size).toBeGreaterThan(20);
});
