import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  afterEach,
  beforeEach,
  describe,
  expect,
  inject,
  it,
  vi,
} from 'vitest';
import { PATIENCE_MS } from '../../support/patience.js';
import { locateRedisServer } from '../../support/redis/locate.mjs';
import { RedisServer } from '../../support/redis/redis-server.mjs';

const systemPath = process.env.PATH;
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'locate-spec-'));
  vi.stubEnv('REDIS_SERVER', '');
  vi.stubEnv('REDIS_CACHE_DIR', join(directory, 'cache'));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true, force: true });
});

async function fakeServer(path: string, version: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(
    path,
    `#!/bin/sh\necho "Redis server v=${version} sha=0 bits=64"\n`,
  );
  await chmod(path, 0o755);
  return path;
}

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** What getredis.sh needs of a package: a loader, which here runs the program it is given. */
const unpackFakePackage = `
  mkdir -p "$3/lib64" "$3/usr/bin"
  printf '#!/bin/sh\\nshift 2; exec "$@"\\n' > "$3/lib64/ld-linux-fake"
  printf '#!/bin/sh\\necho "Redis server v=8.7.6"\\n' > "$3/usr/bin/redis-server"
  chmod +x "$3/lib64/ld-linux-fake" "$3/usr/bin/redis-server"`;

/** Found before the real one, and only by this test. */
async function fakeProgram(name: string, script: string): Promise<void> {
  const bin = join(directory, 'bin');
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  vi.stubEnv('PATH', `${bin}:${systemPath}`);
}

/** Sends an inline command, so that this file needs no client. */
async function ask(target: number | string, command: string): Promise<string> {
  const socket = connect(
    typeof target === 'number' ? { port: target } : { path: target },
  );
  try {
    await once(socket, 'connect');
    socket.write(`${command}\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString().trim();
  } finally {
    socket.destroy();
  }
}

function isAlive(pid: number | undefined): boolean {
  try {
    process.kill(pid ?? Number.NaN, 0);
    return true;
  } catch {
    return false;
  }
}

describe('locateRedisServer', () => {
  it('fails on a REDIS_SERVER that does not exist', async () => {
    const missing = join(directory, 'missing-server');
    vi.stubEnv('REDIS_SERVER', missing);

    await expect(locateRedisServer()).rejects.toThrow(
      `REDIS_SERVER=${missing}: ${missing} does not exist`,
    );
  });

  it('fails on a REDIS_SERVER that is not executable', async () => {
    const file = await fakeServer(join(directory, 'redis-server'), '7.9.9');
    await chmod(file, 0o644);
    vi.stubEnv('REDIS_SERVER', file);

    await expect(locateRedisServer()).rejects.toThrow(
      `${file} is not executable`,
    );
  });

  it('fails on a REDIS_SERVER that is no Redis server', async () => {
    vi.stubEnv('REDIS_SERVER', '/bin/echo');

    await expect(locateRedisServer()).rejects.toThrow(
      'does not answer like a Redis server',
    );
  });

  it('prefers REDIS_SERVER to PATH', async () => {
    const named = await fakeServer(join(directory, 'own/server'), '7.1.1');
    await fakeServer(join(directory, 'bin/redis-server'), '7.9.9');
    vi.stubEnv('PATH', join(directory, 'bin'));
    vi.stubEnv('REDIS_SERVER', named);

    await expect(locateRedisServer()).resolves.toEqual({
      path: named,
      origin: 'REDIS_SERVER',
      version: '7.1.1',
    });
  });

  it('finds redis-server on PATH and keeps the name of a link', async () => {
    const target = await fakeServer(
      join(directory, 'lib/redis-check-rdb'),
      '7.9.9',
    );
    const link = join(directory, 'bin/redis-server');
    await fakeServer(join(directory, 'bin/valkey-server'), '8.8.8');
    await symlink(target, link);
    vi.stubEnv('PATH', `${join(directory, 'empty')}:${join(directory, 'bin')}`);

    await expect(locateRedisServer()).resolves.toEqual({
      path: link,
      origin: 'PATH',
      version: '7.9.9',
    });
  });

  it('takes valkey-server when PATH has no redis-server', async () => {
    const path = await fakeServer(
      join(directory, 'bin/valkey-server'),
      '8.8.8',
    );
    vi.stubEnv('PATH', join(directory, 'bin'));

    await expect(locateRedisServer()).resolves.toMatchObject({
      path,
      version: '8.8.8',
    });
  });

  it('takes a cached server when PATH has none', async () => {
    const path = await fakeServer(
      join(directory, 'cache/redis7/bin/redis-server'),
      '7.0.0',
    );
    vi.stubEnv('PATH', join(directory, 'empty'));

    await expect(locateRedisServer()).resolves.toEqual({
      path,
      origin: 'cache (redis7)',
      version: '7.0.0',
    });
  });

  it('looks for a variant in the cache only', async () => {
    await fakeServer(join(directory, 'bin/redis-server'), '7.9.9');
    const path = await fakeServer(
      join(directory, 'cache/valkey8/bin/valkey-server'),
      '8.1.0',
    );
    vi.stubEnv('PATH', join(directory, 'bin'));

    await expect(
      locateRedisServer({ variant: 'valkey8' }),
    ).resolves.toMatchObject({ path });
    await expect(locateRedisServer({ variant: 'redis8' })).rejects.toThrow(
      'No redis8 server: apt-get is not on PATH',
    );
  });

  it('says what it tried and what helps when nothing is there', async () => {
    vi.stubEnv('PATH', join(directory, 'empty'));

    const error: unknown = await locateRedisServer().catch(
      (reason: unknown) => reason,
    );

    expect(String(error)).toMatch(
      /PATH: neither redis-server nor valkey-server/,
    );
    expect(String(error)).toContain(
      `cache: no usable server in ${join(directory, 'cache')}`,
    );
    expect(String(error)).toMatch(
      /packages \(redis8\): apt-get is not on PATH/,
    );
    expect(String(error)).toMatch(/source: gcc is not on PATH/);
    expect(String(error)).toMatch(/REDIS_URL=/);
    expect(String(error)).toMatch(/REDIS_SERVER=/);
    expect(String(error)).toContain(
      'apt-get update && apt-get install -y redis-server',
    );
  });

  it('says why unpacking failed and leaves nothing behind', async () => {
    await fakeProgram('apt-get', 'echo "no network today" >&2; exit 100');
    await fakeProgram('dpkg-deb', '');
    vi.stubEnv('DEBIAN_MIRROR', 'http://127.0.0.1:9/debian');
    const log = vi.fn<(line: string) => void>();

    await expect(locateRedisServer({ variant: 'redis8', log })).rejects.toThrow(
      /^No redis8 server: getredis.sh ended with code 2/,
    );
    expect(log).toHaveBeenCalledExactlyOnceWith(
      expect.stringMatching(/^Unpacking a redis8 server/),
    );
    await expect(readdir(join(directory, 'cache'))).resolves.toEqual([]);
  });

  it.runIf(existsSync(keyring))(
    'unpacks side by side without disturbing one another',
    async () => {
      await fakeProgram(
        'apt-get',
        'case "$*" in *download*) : > fake.deb ;; esac',
      );
      await fakeProgram('dpkg-deb', unpackFakePackage);
      vi.stubEnv('DEBIAN_MIRROR', 'http://127.0.0.1:9/debian');
      const path = join(directory, 'cache/redis8/bin/redis-server');
      // Half a server, as an interrupted copy leaves it, must be replaced.
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, '');

      const ask = () => locateRedisServer({ variant: 'redis8' });
      const found = await Promise.all([ask(), ask(), ask()]);

      expect(new Set(found.map((server) => server.path))).toEqual(
        new Set([path]),
      );
      expect(found[0].version).toBe('8.7.6');
      await expect(readdir(join(directory, 'cache'))).resolves.toEqual([
        'redis8',
      ]);
    },
  );
});

describe('RedisServer', () => {
  const servers: RedisServer[] = [];

  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });

  async function start(options: Parameters<typeof RedisServer.start>[0] = {}) {
    const server = await RedisServer.start({
      path: inject('redisServerPath'),
      ...options,
    });
    servers.push(server);
    return server;
  }

  it('starts on a free port and leaves nothing after stop', async () => {
    const server = await start();
    const { pid, dir } = server;

    expect(server.url).toBe(`redis://127.0.0.1:${server.port}`);
    expect(server.port).toBeLessThan(50_000);
    expect(await ask(server.port, 'PING')).toBe('+PONG');

    await server.stop();

    expect(isAlive(pid)).toBe(false);
    expect(existsSync(dir)).toBe(false);
    expect(server.pid).toBeUndefined();
  });

  it('comes back on the same port after a kill, as it was started', async () => {
    const server = await start({ config: { 'notify-keyspace-events': 'KEx' } });
    const { pid, port, dir } = server;

    await server.kill();
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(dir)).toBe(true);
    await expect(ask(port, 'PING')).rejects.toThrow('ECONNREFUSED');

    await server.restart();
    expect(server.port).toBe(port);
    expect(server.pid).not.toBe(pid);
    expect(await ask(port, 'CONFIG GET notify-keyspace-events')).toContain(
      'xKE',
    );
  });

  it('answers nothing while paused, and can be stopped then', async () => {
    const server = await start();
    server.pause();
    const answer = ask(server.port, 'PING');
    await expect(Promise.race([answer, delay(100, 'silence')])).resolves.toBe(
      'silence',
    );

    server.resume();
    expect(await answer).toBe('+PONG');

    server.pause();
    await server.stop();
    expect(server.running).toBe(false);
  });

  it('listens on a Unix socket alone', async () => {
    const server = await start({ unixSocket: true });

    expect(server.port).toBe(0);
    expect(server.url).toBe(`unix://${server.dir}/redis.sock`);
    expect(await ask(`${server.dir}/redis.sock`, 'PING')).toBe('+PONG');
  });

  it('keeps a directory it was given', async () => {
    const dir = join(directory, 'data');
    const server = await start({ dir });

    await server.stop();

    expect(existsSync(dir)).toBe(true);
  });

  it('shows what the server said when it does not start', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;

    await expect(start({ port })).rejects.toThrow(
      /ended with code 1[^]*Address already in use/,
    );
    await expect(start({ args: ['--no-such-setting', '1'] })).rejects.toThrow(
      /no-such-setting/,
    );
    await expect(start({ path: join(directory, 'missing') })).rejects.toThrow(
      /ENOENT/,
    );
    await expect(start({ port: 6379 })).rejects.toThrow(/6379/);
    taken.close();
  });

  it('goes down with its process even when that is killed', async () => {
    const module = fileURLToPath(
      new URL('../../support/redis/redis-server.mjs', import.meta.url),
    );
    const script = `
      const { RedisServer } = await import(${JSON.stringify(module)});
      const { port, dir } = await RedisServer.start({ path: process.argv[1] });
      console.log(JSON.stringify({ port, dir }));`;
    const parent = spawn(
      process.execPath,
      ['--input-type=module', '-e', script, inject('redisServerPath')],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const { port, dir } = JSON.parse(line.toString()) as {
      port: number;
      dir: string;
    };
    expect(await ask(port, 'PING')).toBe('+PONG');

    parent.kill('SIGKILL');

    // Not by its pid: an orphan that nobody has reaped yet looks alive.
    await vi.waitFor(() => expect(existsSync(dir)).toBe(false), {
      timeout: PATIENCE_MS,
      interval: 20,
    });
    await expect(ask(port, 'PING')).rejects.toThrow('ECONNREFUSED');
  });
});
