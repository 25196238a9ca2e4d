/**
 * Finds a real Redis (or Valkey) server for the sample and the tests, and gets one when the machine
 * has none. `node test/support/redis/locate.mjs [variant]` prints the path.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { constants, realpathSync } from 'node:fs';
import {
  access,
  chmod,
  mkdir,
  mkdtemp,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import {
  basename,
  delimiter,
  dirname,
  isAbsolute,
  join,
  resolve,
} from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** @typedef {'redis7' | 'redis8' | 'redis8.6' | 'valkey8' | 'valkey9'} RedisVariant */
/** @typedef {(line: string) => void} Log */
/** @typedef {{ path: string, origin: string, version: string }} LocatedServer */

const execute = promisify(execFile);
const thisFile = fileURLToPath(import.meta.url);
const projectRoot = resolve(dirname(thisFile), '../../..');

/** @type {readonly RedisVariant[]} */
export const redisVariants = [
  'redis7',
  'redis8',
  'redis8.6',
  'valkey8',
  'valkey9',
];

/** @type {readonly RedisVariant[]} */
const defaultVariants = ['redis8', 'redis7'];

const unpackTimeoutMs = 5 * 60_000;
const buildTimeoutMs = 15 * 60_000;

const choices = `Any one of these helps:
  REDIS_URL=redis://HOST:PORT          a server that is running already (for npm start; the tests start their own)
  REDIS_SERVER=/path/to/redis-server   a server program of your own
  apt-get update && apt-get install -y redis-server
                                       or your system's package: brew install redis, apk add redis, dnf install valkey
  apt-get, dpkg-deb and debian-archive-keyring with a reachable Debian archive (DEBIAN_MIRROR)
                                       unpacks a server into the cache directory (REDIS_CACHE_DIR), nothing installed
  gcc and make with the internet       builds a server from source into the cache directory`;

/**
 * @param {{ log?: Log, variant?: RedisVariant }} [options]
 * @returns {Promise<LocatedServer>}
 */
export async function locateRedisServer({ log = () => {}, variant } = {}) {
  if (variant !== undefined) return locateVariant(variant, log);
  // Whoever names a server wants that one: falling back would test something else unnoticed.
  if (process.env.REDIS_SERVER)
    return fromEnvironment(process.env.REDIS_SERVER);

  /** @type {[name: string, step: () => Promise<LocatedServer>][]} */
  const steps = [
    ['PATH', fromPath],
    // Every cached server comes before anything slow: a machine that went offline keeps working.
    ['cache', fromCache],
    ...defaultVariants.map(
      (name) =>
        /** @type {[string, () => Promise<LocatedServer>]} */ ([
          `packages (${name})`,
          () => unpackVariant(name, log),
        ]),
    ),
    ['source', () => buildFromSource(log)],
  ];
  const failures = [];
  for (const [name, step] of steps) {
    try {
      return await step();
    } catch (error) {
      failures.push(`  ${name}: ${indent(messageOf(error))}`);
    }
  }
  throw new Error(
    `No Redis server found. Tried:\n${failures.join('\n')}\n${choices}`,
  );
}

/**
 * @param {RedisVariant} variant
 * @param {Log} log
 */
async function locateVariant(variant, log) {
  if (!redisVariants.includes(variant)) {
    throw new Error(
      `Unknown variant "${variant}": use one of ${redisVariants.join(', ')}.`,
    );
  }
  try {
    return (
      (await cachedVariant(variant)) ?? (await unpackVariant(variant, log))
    );
  } catch (error) {
    throw new Error(
      `No ${variant} server: ${messageOf(error)}\n` +
        'A variant comes only from the cache directory or from Debian packages: it needs apt-get, dpkg-deb and ' +
        'debian-archive-keyring with a reachable Debian archive (DEBIAN_MIRROR).',
      { cause: error },
    );
  }
}

/** @param {string} value */
async function fromEnvironment(value) {
  const path = resolve(value);
  const problem = await whyNotExecutable(path);
  if (problem)
    throw new Error(`REDIS_SERVER=${value}: ${path} ${problem}.\n${choices}`);
  try {
    return await describe(path, 'REDIS_SERVER');
  } catch (error) {
    throw new Error(`REDIS_SERVER=${value}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function fromPath() {
  const problems = [];
  for (const name of ['redis-server', 'valkey-server']) {
    const path = await findOnPath(name);
    if (path === undefined) continue;
    try {
      return await describe(path, 'PATH');
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  throw new Error(
    problems.join('; ') || 'neither redis-server nor valkey-server is there',
  );
}

async function fromCache() {
  for (const variant of defaultVariants) {
    const found = await cachedVariant(variant);
    if (found) return found;
  }
  const built = await describeIfUsable(
    builtServer(),
    `cache (${basename(builtDirectory())})`,
  );
  if (built) return built;
  throw new Error(`no usable server in ${cacheDirectory()}`);
}

/** @param {RedisVariant} variant */
function cachedVariant(variant) {
  return describeIfUsable(variantServer(variant), `cache (${variant})`);
}

/**
 * @param {RedisVariant} variant
 * @param {Log} log
 */
async function unpackVariant(variant, log) {
  await requireTools(['apt-get', 'dpkg-deb']);
  const directory = variantDirectory(variant);
  log(
    `Unpacking a ${variant} server from Debian packages into ${directory} (once, some seconds)`,
  );
  const script = join(dirname(thisFile), 'getredis.sh');
  return install(
    directory,
    variantServer(variant),
    `packages (${variant})`,
    (fresh) =>
      runStep('/bin/sh', [script, variant, fresh], {
        name: 'getredis.sh',
        timeout: unpackTimeoutMs,
      }),
  );
}

/** @param {Log} log */
async function buildFromSource(log) {
  await requireTools(['gcc', 'make']);
  const directory = builtDirectory();
  log(
    `Building Redis ${sourceVersion()} from source into ${directory} (once, one to two minutes)`,
  );
  // A process of its own: redis-memory-server writes its progress to stdout, takes settings from
  // the environment only, and keeps its lock after a failure for as long as its process lives.
  return install(
    directory,
    builtServer(),
    'source (redis-memory-server)',
    (fresh) =>
      runStep(process.execPath, [thisFile, '--build', fresh], {
        name: 'redis-memory-server',
        timeout: buildTimeoutMs,
        env: buildEnvironment(),
      }),
  );
}

function buildEnvironment() {
  return {
    ...process.env,
    MAKEFLAGS: process.env.MAKEFLAGS ?? `-j${availableParallelism()}`,
    // Without it redis-memory-server does not check the certificate of what it downloads and builds.
    npm_config_strict_ssl: process.env.npm_config_strict_ssl ?? 'true',
  };
}

/** @param {string} downloadDir */
async function buildInto(downloadDir) {
  const { RedisBinary } = await import('redis-memory-server');
  await RedisBinary.getPath({
    downloadDir,
    version: sourceVersion(),
    systemBinary: '',
    ignoreDownloadCache: true,
  });
}

/** A version that is known to build; "stable" would change under our feet. */
function sourceVersion() {
  return process.env.REDISMS_VERSION || '8.0.2';
}

function cacheDirectory() {
  return resolve(
    process.env.REDIS_CACHE_DIR ||
      join(projectRoot, 'node_modules/.cache/nestjs-redis-expiry'),
  );
}

/** @param {RedisVariant} variant */
function variantDirectory(variant) {
  return join(cacheDirectory(), variant);
}

/** @param {RedisVariant} variant */
function variantServer(variant) {
  const name = variant.startsWith('valkey') ? 'valkey-server' : 'redis-server';
  return join(variantDirectory(variant), 'bin', name);
}

function builtDirectory() {
  return join(cacheDirectory(), `source-${sourceVersion()}`);
}

function builtServer() {
  return join(builtDirectory(), sourceVersion(), 'redis-server');
}

/**
 * Fills a directory beside the final one and renames it into place, so that nobody ever sees half
 * a server and processes that do this at the same time do not disturb one another.
 *
 * @param {string} directory
 * @param {string} server path of the server once it is in place
 * @param {string} origin
 * @param {(fresh: string) => Promise<unknown>} fill
 */
async function install(directory, server, origin, fill) {
  const faster = await describeIfUsable(server, origin);
  if (faster) return faster;
  // Now and not when the new one is ready: by then it could be another process's good one.
  await discard(directory);
  await mkdir(dirname(directory), { recursive: true });
  const fresh = await mkdtemp(`${directory}.new-`);
  try {
    // mkdtemp keeps other users out, but this is to become a part of node_modules.
    await chmod(fresh, 0o755);
    await fill(fresh);
    await describe(join(fresh, server.slice(directory.length)), origin);
    await rename(fresh, directory).catch(unless('ENOTEMPTY', 'EEXIST'));
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return describe(server, origin);
}

/**
 * Renames before it removes, so that nobody meets what is half gone.
 *
 * @param {string} directory
 */
async function discard(directory) {
  const old = `${directory}.old-${randomUUID()}`;
  await rename(directory, old).catch(unless('ENOENT'));
  await rm(old, { recursive: true, force: true });
}

/**
 * @param {string[]} codes
 * @returns {(error: unknown) => void} passes on every error but these
 */
function unless(...codes) {
  return (error) => {
    const code =
      error instanceof Error && 'code' in error ? error.code : undefined;
    if (!codes.includes(String(code))) throw error;
  };
}

/**
 * Never resolves symbolic links: the Redis program decides by its name what it does, and packages
 * link redis-server to redis-check-rdb.
 *
 * @param {string} name
 */
async function findOnPath(name) {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    // An empty or relative entry would depend on the current directory.
    if (!isAbsolute(directory)) continue;
    const path = join(directory, name);
    if ((await whyNotExecutable(path)) === undefined) return path;
  }
  return undefined;
}

/** @param {string[]} names */
async function requireTools(names) {
  for (const name of names) {
    if ((await findOnPath(name)) === undefined)
      throw new Error(`${name} is not on PATH`);
  }
}

/**
 * @param {string} path
 * @returns {Promise<string | undefined>}
 */
async function whyNotExecutable(path) {
  try {
    if (!(await stat(path)).isFile()) return 'is not a file';
  } catch {
    return 'does not exist';
  }
  return access(path, constants.X_OK).then(
    () => undefined,
    () => 'is not executable',
  );
}

/**
 * @param {string} path
 * @param {string} origin
 */
async function describeIfUsable(path, origin) {
  if (await whyNotExecutable(path)) return undefined;
  return describe(path, origin).catch(() => undefined);
}

/**
 * @param {string} path
 * @param {string} origin
 * @returns {Promise<LocatedServer>}
 */
async function describe(path, origin) {
  const { stdout } = await runStep(path, ['--version'], { timeout: 10_000 });
  const version = /\bv=(\S+)/.exec(stdout)?.[1];
  if (version === undefined) {
    throw new Error(
      `${path} --version does not answer like a Redis server: "${tail(stdout, 1)}"`,
    );
  }
  return { path, origin, version };
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{ timeout: number, name?: string, env?: NodeJS.ProcessEnv }} options
 */
async function runStep(command, args, { name = command, ...options }) {
  try {
    return await execute(command, args, {
      maxBuffer: 64 * 1024 * 1024,
      ...options,
    });
  } catch (error) {
    throw new Error(`${name} ${whyFailed(error, options.timeout)}`, {
      cause: error,
    });
  }
}

/**
 * @param {unknown} error what execFile rejects with
 * @param {number} timeout
 */
function whyFailed(error, timeout) {
  const { killed, code, signal, stderr, stdout, message } =
    /** @type {import('node:child_process').ExecFileException} */ (error);
  const output = tail(stderr || stdout || '', 8);
  if (killed) return `was ended after ${timeout / 1000} s\n${output}`.trimEnd();
  if (typeof code === 'number')
    return `ended with code ${code}\n${output}`.trimEnd();
  return signal
    ? `was ended by ${signal}\n${output}`.trimEnd()
    : `could not run: ${message}`;
}

/**
 * @param {string} text
 * @param {number} lines
 */
function tail(text, lines) {
  return text.trim().split('\n').slice(-lines).join('\n');
}

/** @param {string} text */
function indent(text) {
  return text.replaceAll('\n', '\n    ');
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/** @param {string[]} args */
async function main([first, second]) {
  if (first === '--build' && second !== undefined) return buildInto(second);
  const { path } = await locateRedisServer({
    variant: /** @type {RedisVariant | undefined} */ (first),
    log: (line) => console.error(line),
  });
  console.log(path);
}

if (
  process.argv[1] !== undefined &&
  realpathSync(process.argv[1]) === thisFile
) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
