import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { resolveOptions } from '../../lib/engine/options.js';
import { invalidOption } from '../../lib/errors/redis-expiry.error.js';
import { firstColumn, pageOf, root } from '../support/docs/pages.js';

const source = (path: string): string =>
  readFileSync(join(root, 'lib', path), 'utf8');

/** Names of the fields of an interface, as its source declares them. */
function fieldsOf(path: string, name: string): string[] {
  const text = source(path);
  const body = new RegExp(`interface ${name}\\b[^{]*\\{\\n([^]*?)\\n\\}`).exec(
    text,
  );
  expect(body, `${name} in ${path}`).not.toBeNull();
  return [...body![1]!.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(
    ([, field = '']) => field,
  );
}

/** Every option that some error may name. */
function optionsThatErrorsName(): string[] {
  const all = readdirSync(join(root, 'lib'), {
    recursive: true,
    encoding: 'utf8',
  })
    .filter((name) => name.endsWith('.ts'))
    .map(source)
    .join('\n');
  const named = [
    /\b(?:invalidOption|count|ms|wholeMs)\(\s*'([\w.]+)'/g,
    /\bcheckNames\(\w+, [^;]*?'([\w ]+)',?\s*\)/g,
  ].flatMap((pattern) => [...all.matchAll(pattern)].map(([, name]) => name!));
  return [...new Set([...named, 'connection.port', 'connection.db'])];
}

describe('the page of options', () => {
  it('has every option, and none that there is not', () => {
    const [, table = ''] = /\n\n(\| option [^]*?)\n\n/.exec(pageOf('08').text)!;

    expect(firstColumn(table).toSorted()).toEqual(
      [
        ...fieldsOf('engine/module-options.ts', 'RedisExpiryModuleOptions'),
        'isGlobal',
      ].toSorted(),
    );
  });
});

describe('the defaults on the page of options', () => {
  const defaults = { ...resolveOptions({}) } as Record<string, unknown>;
  const rows = [
    ...pageOf('08').text.matchAll(/^\| `(\w+)` +\| `('[^']*'|[\d_]+)` +\|/gm),
  ].filter(([, name = '']) => name in defaults);

  it.each(rows.map(([, name = '', literal = '']) => ({ name, literal })))(
    '$name is $literal',
    ({ name, literal }) => {
      const value = literal.startsWith("'")
        ? literal.slice(1, -1)
        : Number(literal.replaceAll('_', ''));

      expect(defaults[name]).toBe(value);
    },
  );

  it('are those of every option that has a simple one', () => {
    expect(rows.length).toBeGreaterThanOrEqual(8);
  });
});

describe('the page of handlers', () => {
  it.each([
    ['dispatch/handler-options.ts', 'OnKeyExpiredOptions'],
    ['dispatch/key-expired-event.ts', 'KeyExpiredEvent'],
    ['dispatch/handler-options.ts', 'OnKeyExpiringOptions'],
    ['dispatch/key-expiring-event.ts', 'KeyExpiringEvent'],
  ])('has every field of %s', (path, name) => {
    expect(firstColumn(pageOf('05').text)).toEqual(
      expect.arrayContaining(fieldsOf(path, name)),
    );
  });
});

describe('the page of status', () => {
  it.each([
    ['engine/status.ts', 'RedisExpiryStatus'],
    ['dispatch/counters.ts', 'ExpiryCounters'],
    ['dispatch/lateness-window.ts', 'LatenessStatus'],
    ['dispatch/lateness-histogram.ts', 'LatenessHistogram'],
    ['listening/gap-totals.ts', 'GapTotalsStatus'],
    ['dispatch/long-runs.ts', 'LongRunningHandler'],
    ['listening/node-status.ts', 'NodeStatus'],
    ['listening/node-status.ts', 'SetupReport'],
    ['listening/deadline-keeper.ts', 'DeadlineStatus'],
    ['group/consumer-group.ts', 'GroupStatus'],
    ['group/backlog.ts', 'Backlog'],
  ])('has every field of %s', (path, name) => {
    expect(firstColumn(pageOf('09').text)).toEqual(
      expect.arrayContaining(fieldsOf(path, name)),
    );
  });

  it('has every state of a listener', () => {
    const [, states = ''] = /type ListenerState =([^;]*);/.exec(
      source('listening/node-status.ts'),
    )!;
    const names = [...states.matchAll(/'(\w+)'/g)].map(([, name]) => name);

    expect(firstColumn(pageOf('09').text)).toEqual(
      expect.arrayContaining(names),
    );
  });
});

describe('the page of error codes', () => {
  const { text } = pageOf('10');

  it('has every code, and none that there is not', () => {
    const [, union = ''] = /type RedisExpiryErrorCode =([^;]*);/.exec(
      source('errors/redis-expiry.error.ts'),
    )!;
    const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map(
      ([, code = '']) => code,
    );
    const [table = ''] = text.split('\n## ');

    expect(firstColumn(table).slice(1).toSorted()).toEqual(
      [...codes, 'INVALID_OPTION_<NAME>'].toSorted(),
    );
  });

  it('has the code of every option that an error may name, and no other', () => {
    const [, tables = ''] = text.split(/^## /m);
    const told = tables.match(/(?<=`)INVALID_OPTION_[A-Z_]+(?=` *\|)/g);
    const { code: unknown } = invalidOption('gruop', 1, '');
    const codes = optionsThatErrorsName().map(
      (name) => invalidOption(name, 1, '').code,
    );

    expect(text).toContain(`\`${unknown}\``);
    expect([...new Set(told)].toSorted()).toEqual(codes.toSorted());
  });
});
