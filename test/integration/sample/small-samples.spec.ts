import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { root } from '../../support/docs/pages.js';
import {
  SampleApp,
  copyProject,
  removeProject,
} from '../../support/sample/sample-app.js';

const SAMPLES = join(root, 'sample');
const names = readdirSync(SAMPLES).filter((name) => /^\d\d-/.test(name));

/** What each sample prints when it has done what it is for; the tests of 05-testing run by themselves. */
const PRINTS: Record<string, RegExp[]> = {
  '01-quick-start': [/^device 42 went offline, noticed \d+ ms later$/m],
  '02-group': [
    /^dead letter: cart:late after 3 tries: the mail server does not answer$/m,
    /^instance [AB]: cart late was abandoned$/m,
    /^every cart was handled once$/m,
  ],
  '03-session-timeout': [
    /^grace has logged out$/m,
    /^the session of ada timed out at \S+ after \/, \/books, \/cart$/m,
  ],
  '06-health-and-metrics': [
    /^GET \S+\/health: 200$/m,
    /^GET \S+\/metrics: 200$/m,
    /^redis_expiry_handled 1$/m,
  ],
  '04-cluster': [/is listening$/m, /^lease 1 has/m, /^lease 9 has/m],
};
const ENDS_BY_ITSELF = '02-group';

let project: string;

beforeAll(async () => {
  project = await copyProject();
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  for (const part of ['tsconfig.build.json', 'sample'])
    execFileSync(process.execPath, [tsc, '-p', join(project, part)]);
});
afterAll(() => removeProject(project));

describe.concurrent('the small samples', () => {
  it.for(Object.entries(PRINTS))(
    '%s does what it is for, and leaves on Ctrl-C',
    async ([name, expected], { onTestFinished }) => {
      const env = { REDIS_SERVER: inject('redisServerPath') };
      const command = ['node', 'sample/run.mjs', name];
      const app = new SampleApp(command, project, env);
      onTestFinished(() => app.kill());
      for (const line of expected) await app.prints(line);
      if (name !== ENDS_BY_ITSELF) app.signal('SIGINT');

      expect(await app.ended()).toBe(0);
      expect(app.output).not.toMatch(/error/i);
    },
  );
});

describe('every small sample', () => {
  it('is run by a test', () => {
    expect([...Object.keys(PRINTS), '05-testing'].toSorted()).toEqual(
      names.toSorted(),
    );
  });

  it.each(names)('%s is short', (name) => {
    const linesOf = (file: string): number =>
      readFileSync(join(SAMPLES, name, file), 'utf8')
        .trimEnd()
        .split('\n').length;
    const sources = readdirSync(join(SAMPLES, name)).filter(
      (file) => !file.endsWith('.md'),
    );
    const lines = sources.reduce((sum, file) => sum + linesOf(file), 0);

    expect(lines).toBeLessThanOrEqual(100);
    expect(linesOf('README.md')).toBeLessThanOrEqual(12);
  });
});
