/** Real server processes for the sample and the tests. */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { locateRedisServer } from './locate.mjs';

/**
 * @typedef {object} RedisServerOptions
 * @property {string} [path] the server program; located when left out
 * @property {number} [port] a free one when left out; none when only `unixSocket` is given
 * @property {string | true} [unixSocket] path of a socket to listen on; `true` puts it into `dir`
 * @property {string[]} [args] added last, so they override the defaults
 * @property {string} [dir] working directory, kept on stop; a temporary one when left out
 * @property {{ cert: string, key: string }} [tls] PEM files; the port then speaks TLS only
 * @property {Record<string, string>} [config] written to `redis.conf` in `dir`, one line per entry
 *   (`replicaof: '127.0.0.1 20001'`), which is what CONFIG REWRITE and Sentinel ask for
 */

/** @typedef {import('node:child_process').ChildProcessByStdio<null, import('node:stream').Readable, import('node:stream').Readable>} ServerProcess */

const startTimeoutMs = 20_000;
const stopTimeoutMs = 5_000;
const portAttempts = 10;
const keptOutput = 8 * 1024;

/**
 * Below the range systems take outgoing ports from, so that a killed server finds its port free
 * when it comes back; and the cluster bus, 10000 higher, stays below 50000 too.
 */
const ports = { first: 20_000, last: 32_000 };

export class RedisServer {
  /** @type {Set<RedisServer>} */
  static #running = new Set();

  static {
    process.on('exit', () => {
      for (const server of RedisServer.#running) server.#abandon();
    });
  }

  /** @type {ServerProcess | undefined} */
  #child;
  /** @type {Promise<void>} */
  #exited = Promise.resolve();
  /** @type {(() => void) | undefined} */
  #dismissWatchdog;
  #output = '';
  #args;
  #ownsDir;

  /**
   * @private
   * @param {{ path: string, dir: string, ownsDir: boolean, port: number, url: string, unixSocket: string | undefined, args: string[] }} fields
   */
  constructor({ path, dir, ownsDir, port, url, unixSocket, args }) {
    this.path = path;
    this.dir = dir;
    /** 0 when the server listens on a Unix socket only. */
    this.port = port;
    this.url = url;
    this.unixSocket = unixSocket;
    this.#ownsDir = ownsDir;
    this.#args = args;
  }

  /** @param {RedisServerOptions} [options] */
  static async start(options = {}) {
    if (options.port === 6379) {
      throw new Error('Port 6379 may be a real database: take another one.');
    }
    const path = options.path ?? (await locateRedisServer()).path;
    const ownsDir = options.dir === undefined;
    const dir = await makeDirectory(options.dir);
    try {
      await writeConfig(dir, options.config);
      return await RedisServer.#startOnSomePort(options, (port) => {
        const listening = listen(options, dir, port);
        const args = serverArguments(options, dir, listening.args);
        return new RedisServer({
          path,
          dir,
          ownsDir,
          port,
          ...listening,
          args,
        });
      });
    } catch (error) {
      if (ownsDir) await rm(dir, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * @param {RedisServerOptions} options
   * @param {(port: number) => RedisServer} create
   */
  static async #startOnSomePort({ port, unixSocket }, create) {
    const given = port ?? (unixSocket === undefined ? undefined : 0);
    for (let attempt = 1; ; attempt++) {
      const server = create(given ?? (await freePort()));
      try {
        await server.#launch();
        return server;
      } catch (error) {
        const taken = /Address already in use/i.test(server.output);
        if (!taken || given !== undefined || attempt === portAttempts)
          throw error;
      }
    }
  }

  /** @type {number | undefined} */
  get pid() {
    return this.#child?.pid;
  }

  get running() {
    return this.#child !== undefined;
  }

  /** The last lines the server wrote since its latest start. */
  get output() {
    return this.#output;
  }

  /** Ends the server in good order and removes its temporary directory. */
  async stop() {
    await this.#end('SIGTERM');
    if (this.#ownsDir) await rm(this.dir, { recursive: true, force: true });
  }

  /** Crashes the server; directory and port stay for `restart()`. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** Starts the server again as it was; stops it first when it still runs. */
  async restart() {
    await this.#end('SIGTERM');
    await this.#launch();
  }

  /** Freezes the server: connections stay open and nothing answers. */
  pause() {
    this.#signal('SIGSTOP');
  }

  resume() {
    this.#signal('SIGCONT');
  }

  async #launch() {
    this.#output = '';
    // A group of its own: Ctrl+C in a terminal goes to the whole group, and would take the server
    // away under an application that is shutting down.
    const child = spawn(this.path, this.#args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#watch(child);
    try {
      await this.#ready(child);
    } catch (error) {
      await this.#end('SIGKILL');
      throw new Error(
        `${this.path} ${this.#args.map((arg) => arg || '""').join(' ')}\n${messageOf(error)}\n${this.#output}`,
        {
          cause: error,
        },
      );
    }
  }

  /** For the last moment of this process, when nothing can be awaited any more. */
  #abandon() {
    this.#child?.kill('SIGKILL');
    this.#dismissWatchdog?.();
    if (this.#ownsDir) rmSync(this.dir, { recursive: true, force: true });
  }

  /** @param {ServerProcess} child */
  #watch(child) {
    this.#child = child;
    RedisServer.#running.add(this);
    this.#dismissWatchdog = startWatchdog(
      child.pid,
      this.#ownsDir ? this.dir : '',
    );
    for (const stream of [child.stdout, child.stderr]) {
      // Read to the end even when nobody looks: a full pipe would block the server.
      stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
        this.#output = (this.#output + text).slice(-keptOutput);
      });
    }
    this.#exited = new Promise((done) => {
      const gone = () => {
        this.#child = undefined;
        this.#dismissWatchdog?.();
        RedisServer.#running.delete(this);
        done();
      };
      child.once('close', gone).once('error', gone);
    });
  }

  /**
   * @param {ServerProcess} child
   * @returns {Promise<void>}
   */
  #ready(child) {
    return new Promise((done, fail) => {
      const timer = setTimeout(
        () => fail(new Error(`is not ready after ${startTimeoutMs / 1000} s:`)),
        startTimeoutMs,
      );
      const finish = () => clearTimeout(timer);
      child.stdout.on('data', () => {
        // Sentinel has no connections to accept before it knows itself.
        if (!/ready to accept connections|Sentinel ID is/i.test(this.#output))
          return;
        finish();
        done();
      });
      child.once('error', (error) => {
        finish();
        fail(new Error(`cannot run: ${error.message}`));
      });
      child.once('close', (code, signal) => {
        finish();
        fail(
          new Error(
            `ended with ${signal ?? `code ${code}`} before it was ready:`,
          ),
        );
      });
    });
  }

  /** @param {'SIGTERM' | 'SIGKILL'} signal */
  async #end(signal) {
    const child = this.#child;
    if (child === undefined) return;
    child.kill(signal);
    // A paused server would keep SIGTERM waiting.
    child.kill('SIGCONT');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await this.#exited;
    clearTimeout(timer);
  }

  /** @param {NodeJS.Signals} signal */
  #signal(signal) {
    if (this.#child === undefined)
      throw new Error(`The server at ${this.url} is not running.`);
    this.#child.kill(signal);
  }
}

async function freePort() {
  for (;;) {
    const port =
      ports.first + Math.floor(Math.random() * (ports.last - ports.first));
    if (await isFree(port)) return port;
  }
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function isFree(port) {
  return new Promise((done) => {
    const probe = createServer();
    probe.once('error', () => done(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => done(true)));
  });
}

/** @param {string | undefined} given */
async function makeDirectory(given) {
  if (given === undefined)
    return mkdtemp(join(tmpdir(), 'nestjs-redis-expiry-'));
  const dir = resolve(given);
  await mkdir(dir, { recursive: true });
  return dir;
}

/**
 * @param {string} dir
 * @param {Record<string, string> | undefined} config
 */
async function writeConfig(dir, config) {
  if (config === undefined) return;
  const lines = Object.entries(config).map(
    ([name, value]) => `${name} ${value || '""'}\n`,
  );
  await writeFile(join(dir, 'redis.conf'), lines.join(''));
}

/**
 * @param {RedisServerOptions} options
 * @param {string} dir
 * @param {number} port
 */
function listen({ unixSocket: socket, tls }, dir, port) {
  const unixSocket =
    socket === true ? join(dir, 'redis.sock') : socket && resolve(socket);
  const args = tls
    ? ['--port', '0', '--tls-port', `${port}`, ...tlsArguments(tls)]
    : ['--port', `${port}`];
  if (unixSocket !== undefined) args.push('--unixsocket', unixSocket);
  const scheme = tls ? 'rediss' : 'redis';
  const url = port ? `${scheme}://127.0.0.1:${port}` : `unix://${unixSocket}`;
  return { unixSocket, url, args };
}

/** @param {{ cert: string, key: string }} files */
function tlsArguments({ cert, key }) {
  return [
    ...['--tls-cert-file', resolve(cert), '--tls-key-file', resolve(key)],
    ...['--tls-ca-cert-file', resolve(cert), '--tls-auth-clients', 'no'],
  ];
}

/**
 * @param {RedisServerOptions} options
 * @param {string} dir
 * @param {string[]} listening
 */
function serverArguments({ config, args = [] }, dir, listening) {
  const defaults = { save: '', appendonly: 'no', bind: '127.0.0.1', dir };
  // A flag beats the file, and a default must not.
  const flags = Object.entries(defaults).filter(
    ([name]) => !(config && name in config),
  );
  return [
    ...(config ? [join(dir, 'redis.conf')] : []),
    ...listening,
    ...flags.flatMap(([name, value]) => [`--${name}`, value]),
    ...args,
  ];
}

/**
 * The 'exit' event stays out when a signal ends this process, as a test runner's time limit does.
 * The watchdog waits for its input to end, which happens however this process dies.
 *
 * @param {number | undefined} pid
 * @param {string} ownDir
 * @returns {() => void} dismisses it
 */
function startWatchdog(pid, ownDir) {
  if (pid === undefined) return () => {};
  const script = 'read -r _; kill -9 "$1"; [ -z "$2" ] || rm -rf -- "$2"';
  const watchdog = spawn(
    '/bin/sh',
    ['-c', script, 'watchdog', `${pid}`, ownDir],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    },
  );
  watchdog.on('error', () => {});
  watchdog.unref();
  /** @type {import('node:net').Socket} */ (watchdog.stdin).unref();
  return () => {
    watchdog.kill('SIGKILL');
  };
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
