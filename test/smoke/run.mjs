/**
 * Packs the package as `npm publish` would, looks into the tarball, installs it into empty
 * applications outside the project, and runs those against a real Redis: `npm run test:packed`.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  cp,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  realpath,
  rm,
  stat,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { locateRedisServer } from '../support/redis/locate.mjs';
import { RedisServer } from '../support/redis/redis-server.mjs';

/** @typedef {{ stdout: string, stderr: string, code: number | null, signal: string | null, ms: number, quietMs: number }} Ended */
/** @typedef {{ cwd: string, env?: NodeJS.ProcessEnv, timeout?: number }} RunOptions */

const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const appSources = fileURLToPath(new URL('apps', import.meta.url));

/** `lowest-peers` holds the lowest versions that `peerDependencies` allow. */
const apps = ['nest12-esm', 'nest11-cjs', 'lowest-peers'];
/** Applications whose tests use the test kit, by the runners that Nest's own templates have. */
const tested = ['jest30-cjs', 'vitest-esm'];

const toolTimeoutMs = 240_000;
const appTimeoutMs = 60_000;
/** How long a process may live on after the last thing that its application did. */
const endingLimitMs = 1_500;

/** @param {string} what */
function pass(what) {
  console.log(`PASS ${what}`);
}

/** @param {string} path */
async function readJson(path) {
  return JSON.parse(await readFile(path, 'utf8'));
}

/** @param {number} since */
function secondsSince(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} options
 * @returns {Promise<Ended>}
 */
function run(command, args, { cwd, env, timeout = toolTimeoutMs }) {
  return new Promise((done, fail) => {
    const began = Date.now();
    let lastOutput = began;
    let stdout = '';
    let stderr = '';
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
      killSignal: 'SIGKILL',
    });
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      lastOutput = Date.now();
    });
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    child.once('error', fail);
    child.once('close', (code, signal) => {
      const ms = Date.now() - began;
      const quietMs = Date.now() - lastOutput;
      done({ stdout, stderr, code, signal, ms, quietMs });
    });
  });
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} options
 */
async function mustRun(command, args, options) {
  const ended = await run(command, args, options);
  if (ended.code !== 0) throw failure(`${command} ${args.join(' ')}`, ended);
  return ended;
}

/**
 * @param {string} what
 * @param {Ended} ended
 */
function failure(what, { stdout, stderr, code, signal, ms }) {
  return new Error(
    `${what}\nended with ${signal ?? `code ${code}`} after ${ms} ms` +
      `\n--- stdout\n${stdout}\n--- stderr\n${stderr}`,
  );
}

/**
 * As a user's shell would: what npm and test runners put into the environment could hide a warning.
 *
 * @param {string} app
 * @param {string} file
 * @param {NodeJS.ProcessEnv} [env]
 */
function runInApp(app, file, env) {
  return run(process.execPath, [file], {
    cwd: app,
    env: { PATH: process.env.PATH, ...env },
    timeout: appTimeoutMs,
  });
}

/**
 * @param {string} directory
 * @returns {Promise<string>} path of the tarball
 */
async function pack(directory) {
  await mustRun('npm', ['run', 'build'], { cwd: projectRoot });
  await mustRun('npm', ['pack', '--pack-destination', directory], {
    cwd: projectRoot,
  });
  const [tarball, ...more] = await readdir(directory);
  assert(tarball?.endsWith('.tgz') && more.length === 0, 'one tarball');
  return join(directory, tarball);
}

/**
 * @param {string} tarball
 * @param {string} directory
 */
async function inspect(tarball, directory) {
  await mustRun('tar', ['-xzf', tarball, '-C', directory], { cwd: directory });
  const root = join(directory, 'package');
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(relative(root, entry.parentPath), entry.name));

  const wanted =
    /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|dist\/.+\.(js|d\.ts)(\.map)?)$/;
  const tests =
    /(^|\/)(tests?|__tests__|fixtures)\/|\.(spec|test|bench)\.[^/]+$/;
  assert.deepEqual(
    paths.filter((path) => !wanted.test(path) || tests.test(path)),
    [],
    'files that have no business in the tarball',
  );
  const wantedBy = await Promise.all(paths.map((path) => refersTo(root, path)));
  assert.deepEqual(
    wantedBy.flat().filter((path) => !existsSync(join(root, path))),
    [],
    'files that others refer to and that are not in the tarball',
  );
  const { size } = await stat(tarball);
  pass(
    `the tarball holds what it should: ${paths.length} files, ${size} bytes`,
  );

  await inspectManifest(await readJson(join(root, 'package.json')));
}

/** @param {Record<string, Record<string, string>>} manifest */
async function inspectManifest(manifest) {
  for (const field of Object.keys(manifest).filter((name) =>
    /^(dependencies|optionalDependencies|bundled?Dependencies)$/.test(name),
  ))
    assert.fail(`package.json has ${field}`);
  for (const script of ['preinstall', 'install', 'postinstall'])
    assert(!manifest.scripts?.[script], `package.json has a script ${script}`);
  const lowest = await readJson(
    join(appSources, 'lowest-peers', 'package.json'),
  );
  for (const [peer, range] of Object.entries(manifest.peerDependencies ?? {}))
    assert.equal(
      range.split(' ')[0],
      `^${lowest.dependencies[peer]}`,
      `the lowest ${peer} that is allowed is not the one that is tested`,
    );
  pass('no runtime dependencies, no install scripts, every peer is tested');
}

/**
 * The maps of a file and the sources of a map; the declarations of a program and the reverse.
 *
 * @param {string} root
 * @param {string} path
 * @returns {Promise<string[]>}
 */
async function refersTo(root, path) {
  const directory = posix.dirname(path);
  const text = await readFile(join(root, path), 'utf8');
  if (path.endsWith('.map')) {
    const { sources, sourcesContent, sourceRoot = '' } = JSON.parse(text);
    return sourcesContent
      ? []
      : sources.map((/** @type {string} */ source) =>
          posix.join(directory, sourceRoot, source),
        );
  }
  const map = /^\/\/# sourceMappingURL=(?!data:)(.*)$/m.exec(text)?.[1];
  const maps = map === undefined ? [] : [posix.join(directory, map)];
  if (path.endsWith('.d.ts')) return [...maps, path.replace(/\.d\.ts$/, '.js')];
  if (path.endsWith('.js')) return [...maps, path.replace(/\.js$/, '.d.ts')];
  return maps;
}

/**
 * An empty application with its dependencies and the tarball.
 *
 * @param {string} name
 * @param {string} directory
 * @param {string} tarball
 */
async function install(name, directory, tarball) {
  const began = Date.now();
  const app = join(directory, name);
  await cp(join(appSources, name), app, { recursive: true });
  await mkdir(join(app, 'src'), { recursive: true });
  const shared = join(appSources, tested.includes(name) ? 'kit' : 'shared');
  for (const file of await readdir(shared))
    await cp(
      join(shared, file),
      join(app, file.endsWith('.ts') ? 'src' : '', file),
    );
  await mustRun('npm', ['install', '--no-audit', '--no-fund', tarball], {
    cwd: app,
  });
  const nested = 'node_modules/nestjs-redis-expiry/node_modules';
  assert(!existsSync(join(app, nested)), 'the peers are used, not copied');
  pass(`${name}: installs, ${secondsSince(began)}`);
  return app;
}

/**
 * @param {string} name
 * @param {string} app
 */
async function compile(name, app) {
  const began = Date.now();
  const tsc = join(app, 'node_modules/typescript/bin/tsc');
  await mustRun(process.execPath, [tsc], { cwd: app });
  pass(`${name}: compiles without skipLibCheck, ${secondsSince(began)}`);
}

/**
 * @param {string} name
 * @param {string} app
 */
async function load(name, app) {
  for (const file of ['exports.mjs', 'exports.cjs']) {
    const ended = await runInApp(app, file);
    if (ended.code !== 0 || ended.stdout + ended.stderr !== '')
      throw failure(`${name}: node ${file}`, ended);
  }
  pass(`${name}: import and require give the public names, without a warning`);
}

/**
 * The command, as a user of the package starts it.
 *
 * @param {string} name
 * @param {string} app
 * @param {string} redisServer
 */
async function command(name, app, redisServer) {
  const redis = await RedisServer.start({ path: redisServer });
  try {
    /** @type {[string[], number, RegExp][]} */
    const lines = [
      [['--help'], 0, /^Usage: nestjs-redis-expiry /],
      [['--version'], 0, /^\d+\.\d+\.\d+\n$/],
      [['doctor', redis.url, '--measure', '500ms'], 0, /\nVerdict: \w+\n$/],
      [['doctor', redis.url, '--measure', '1'], 2, /accepted: a time/],
    ];
    for (const [args, code, text] of lines) {
      const words = ['--no', 'nestjs-redis-expiry', '--', ...args];
      const options = { cwd: app, timeout: appTimeoutMs };
      const ended = await run('npx', words, options);
      if (ended.code !== code || !text.test(ended.stdout + ended.stderr))
        throw failure(`${name}: npx nestjs-redis-expiry ${args[0]}`, ended);
    }
    pass(`${name}: npx nestjs-redis-expiry works`);
  } finally {
    await redis.stop();
  }
}

/**
 * @param {string} name
 * @param {string} app
 */
async function runTests(name, app) {
  const began = Date.now();
  // There is no Redis for them.
  await mustRun('npm', ['test'], { cwd: app, timeout: appTimeoutMs });
  pass(`${name}: its tests pass without Redis, ${secondsSince(began)}`);
}

/**
 * @param {string} name
 * @param {string} app
 * @param {string} redisServer
 */
async function exercise(name, app, redisServer) {
  const redis = await RedisServer.start({ path: redisServer });
  try {
    const ended = await runInApp(app, 'dist/main.js', { REDIS_URL: redis.url });
    for (const line of ended.stdout.split('\n'))
      if (line.startsWith('PASS ')) pass(`${name}: ${line.slice(5)}`);
    // A process whose promise never settles may end with 0 too: its last line must be there.
    if (ended.code !== 0 || !ended.stdout.endsWith('DONE\n'))
      throw failure(`${name}: node dist/main.js`, ended);
    if (ended.stderr !== '') throw failure(`${name}: wrote to stderr`, ended);
    if (ended.quietMs > endingLimitMs)
      throw failure(`${name}: lived on for ${ended.quietMs} ms`, ended);
    pass(`${name}: the process ended by itself, ${ended.quietMs} ms later`);
  } finally {
    await redis.stop();
  }
}

/** @param {string} temporary */
async function main(temporary) {
  assert(!temporary.startsWith(projectRoot), `${temporary} is in the project`);
  const [tarballs, unpacked] = ['tarball', 'unpacked'].map((name) =>
    join(temporary, name),
  );
  assert(tarballs && unpacked);
  await mkdir(tarballs);
  await mkdir(unpacked);
  const { path: redisServer } = await locateRedisServer({ log: console.log });
  const tarball = await pack(tarballs);
  await inspect(tarball, unpacked);

  const ends = await Promise.allSettled([
    ...apps.map(async (name) => {
      const app = await install(name, temporary, tarball);
      await load(name, app);
      await compile(name, app);
      await exercise(name, app, redisServer);
      await command(name, app, redisServer);
    }),
    ...tested.map(async (name) => {
      const app = await install(name, temporary, tarball);
      await runTests(name, app);
    }),
  ]);
  const failures = ends.filter((end) => end.status === 'rejected');
  if (failures.length > 0)
    throw new AggregateError(failures.map(({ reason }) => reason));
}

const began = Date.now();
const temporary = await mkdtemp(
  join(await realpath(tmpdir()), 'nestjs-redis-expiry-packed-'),
);
try {
  await main(temporary);
  console.log(`Packed package: all passed, ${secondsSince(began)}`);
} catch (error) {
  for (const each of error instanceof AggregateError ? error.errors : [error])
    console.error(`FAIL ${each instanceof Error ? each.message : each}\n`);
  console.log(`Packed package: failed, ${secondsSince(began)}`);
  process.exitCode = 1;
} finally {
  await rm(temporary, { recursive: true, force: true });
}
