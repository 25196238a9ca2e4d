import { execFile } from 'node:child_process';
import { writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { groupApp, handler } from '../../support/group/app.js';
import { PATIENCE_MS } from '../../support/patience.js';
import { programOf } from '../../support/program-of.js';
import { useServer } from '../../support/servers.js';
import { tlsPort } from '../../support/tls.js';

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a shell's line, in which `$CLI` is the command, until it ends by itself. */
const shell = (line: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> =>
  new Promise((resolve) => {
    const options = {
      env: {
        PATH: process.env['PATH'],
        CLI: `${process.execPath} ${programOf('bin')}`,
        ...env,
      },
      timeout: PATIENCE_MS,
    };
    execFile('sh', ['-c', line], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code ?? -1);
      resolve({ code, stdout, stderr });
    });
  });

describe('the command as a process', () => {
  const server = useServer();

  it('tells by exit code and streams how it went, and ends', async () => {
    const well = await shell(`$CLI doctor ${server.url} --read-only`);
    expect(well).toMatchObject({ code: 0, stderr: '' });
    expect(well.stdout).toMatch(/\nVerdict: /);
    const strict = await shell(
      `$CLI doctor ${server.url} --read-only --strict`,
    );
    expect(strict.code).toBe(1);
    const missing = await shell(`$CLI status ${server.url} --group presence`);
    expect(missing).toMatchObject({ code: 2, stdout: '' });
    expect(missing.stderr).toMatch(/There is no group "presence"/);
  });

  it('does not mind that nobody reads on', async () => {
    await groupApp(server, [handler('k*', () => undefined)]);
    const line = `$CLI status ${server.url} --group presence | head -n 1`;
    const { stderr, stdout } = await shell(line);
    expect([stderr, stdout]).toEqual(['', expect.stringMatching(/^group pre/)]);
    const { stderr: closed } = await shell(`$CLI --help | true`);
    expect(closed).toBe('');
  });

  it('takes the password from the environment, and certificates, over TLS', async () => {
    await groupApp(server, [handler('k*', () => undefined)]);
    await server.redis.acl(
      'SETUSER',
      'app',
      'on',
      '>s3cret',
      '~*',
      '&*',
      '+@all',
    );
    const { port, ca } = await tlsPort(server);
    const directory = await mkdtemp(join(tmpdir(), 'nestjs-redis-expiry-cli-'));
    onTestFinished(() => rm(directory, { recursive: true }));
    const file = join(directory, 'ca.pem');
    await writeFile(file, ca);
    const env = { REDISCLI_AUTH: 's3cret' };
    const line = `$CLI status rediss://app@localhost:${port} --group presence`;
    const trusted = await shell(line, { ...env, NODE_EXTRA_CA_CERTS: file });
    expect(trusted).toMatchObject({ code: 0, stderr: '' });
    const unknown = await shell(line, env);
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toMatch(/cannot be asked: .*self.signed/);
  });
});
