import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { codeOfText } from '../../../lib/connection/server-error.js';
import type { Script } from '../../../lib/connection/script.js';
import { PROBE_VALUES } from '../../../lib/scripts/probe-values.lua.js';
import { PROBE } from '../../../lib/scripts/probe.lua.js';
import { onEveryServer } from '../../support/servers.js';

/** The commands that a script calls. */
const calledBy = (text: string): string[] =>
  [...text.matchAll(/redis\.p?call\('([A-Z]+)'/g)].map(([, name]) => name!);

const triedBy = ({ text }: Script): string[] =>
  [...text.matchAll(/\{ '([A-Z]+)'/g)].map(([, name]) => name!);
const tried = [...triedBy(PROBE), ...triedBy(PROBE_VALUES)];

it('PROBE, with PROBE-VALUES, tries every command that some script calls', async () => {
  const called = new Set<string>();
  for (const file of await readdir('lib', { recursive: true }))
    if (file.endsWith('.lua.ts'))
      for (const name of calledBy(await readFile(join('lib', file), 'utf8')))
        called.add(name);
  // Where it is missing, PTTL does.
  called.delete('PEXPIRETIME');

  expect(called.size).toBeGreaterThan(15);
  expect(tried).toEqual(expect.arrayContaining([...called]));
});

onEveryServer('PROBE', (server) => {
  it('is refused nothing but for want of the key, and writes nothing', async () => {
    const refused = (await PROBE.run(server.redis, ['probe'])) as string[];
    const texts = refused.filter((_, i) => i % 2 === 1);

    expect(texts.length).toBeGreaterThan(0);
    for (const text of texts)
      expect(['ERR', 'NOGROUP']).toContain(codeOfText(text));
    expect(await server.redis.dbsize()).toBe(0);
  });
});
