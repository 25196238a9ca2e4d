/**
 * Runs the integration suite on every server that can be had, and with the other majors of the
 * peers: `npm run test:matrix`. Names of rows after it run only these: `npm run test:matrix redis7
 * peers5`. `--faults` runs the fault tests of Cluster, Sentinel and groups on each server, too; `--groups`
 * runs the tests of groups alone, and those of their failovers by Sentinels.
 * `--reports=PREFIX` leaves a report of each row in JSON at PREFIX.ROW.json.
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { locateRedisServer, redisVariants } from './support/redis/locate.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What is not copied: what is made anew, and what is not ours. */
const LEFT = new Set(['node_modules', 'dist', '.git']);

/** The lines of peers beside those that are installed here. */
const PEERS = {
  peers5: [
    'ioredis@5',
    '@nestjs/common@11',
    '@nestjs/core@11',
    '@nestjs/platform-express@11',
    '@nestjs/testing@11',
  ],
};

/** @typedef {{ row: string, ok: boolean, passed: number, failed: number, seconds: number, note: string }} Result */

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv }} options
 * @returns {Promise<number>}
 */
function run(command, args, { cwd, env = process.env }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

/**
 * @param {string} row
 * @param {string[]} suites
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv }} where
 * @param {string} note
 * @returns {Promise<Result>}
 */
async function testRow(row, suites, { cwd, env = {} }, note) {
  const began = Date.now();
  const dir = await mkdtemp(join(tmpdir(), 'nestjs-redis-expiry-matrix-'));
  const report = reports ? `${reports}.${row}.json` : join(dir, 'report.json');
  try {
    const code = await run(
      'npx',
      [
        ...['vitest', 'run', '--reporter=default', '--reporter=json'],
        ...[`--outputFile.json=${report}`, ...suites],
      ],
      { cwd, env: { ...process.env, ...env } },
    );
    const { numPassedTests = 0, numFailedTests = 0 } = JSON.parse(
      await readFile(report, 'utf8').catch(() => '{}'),
    );
    return {
      row,
      ok: code === 0,
      passed: numPassedTests,
      failed: numFailedTests,
      seconds: Math.round((Date.now() - began) / 1_000),
      note,
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * The suite in a copy of the project, with other peers.
 *
 * @param {keyof typeof PEERS} row
 * @param {string[]} suites
 */
async function testPeers(row, suites) {
  const { path } = await locateRedisServer();
  const dir = await mkdtemp(join(tmpdir(), 'nestjs-redis-expiry-peers-'));
  const cwd = join(dir, 'project');
  try {
    await cp(root, cwd, {
      recursive: true,
      filter: (source) => !LEFT.has(source.split('/').at(-1) ?? ''),
    });
    const npm = (/** @type {string[]} */ ...args) =>
      run('npm', [...args, '--no-audit', '--no-fund'], { cwd });
    if ((await npm('ci')) !== 0) throw new Error('npm ci failed');
    const wanted = PEERS[row];
    if ((await npm('install', '--no-save', '--force', ...wanted)) !== 0)
      throw new Error(`${wanted.join(' ')} could not be installed`);
    const where = { cwd, env: { REDIS_SERVER: path } };
    // The sample is an application with peers of its own.
    const lean = [...suites, '--exclude', 'test/integration/sample/**'];
    return await testRow(row, lean, where, wanted.slice(0, 2).join(' '));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const args = process.argv.slice(2);
const withFaults = args.includes('--faults');
const groupsOnly = args.includes('--groups');
const reports = args
  .find((arg) => arg.startsWith('--reports='))
  ?.slice('--reports='.length);
const named = args.filter((arg) => !arg.startsWith('--'));
const rows = [...redisVariants, ...Object.keys(PEERS)];
const unknown = named.filter((row) => !rows.includes(row));
if (unknown.length > 0) {
  console.error(`Unknown: ${unknown.join(', ')}. Rows: ${rows.join(', ')}`);
  process.exit(2);
}

const suites = groupsOnly
  ? ['test/integration/group', 'test/faults/sentinel/group']
  : [
      'test/integration/',
      ...(withFaults
        ? ['cluster', 'sentinel', 'group'].map((of) => `test/faults/${of}`)
        : []),
    ];
/** @type {Result[]} */
const results = [];
for (const row of named.length > 0 ? named : rows) {
  console.log(`\n==> ${row}`);
  try {
    if (row in PEERS) {
      results.push(await testPeers(/** @type {'peers5'} */ (row), suites));
      continue;
    }
    const variant =
      /** @type {import('./support/redis/locate.mjs').RedisVariant} */ (row);
    const { path, version } = await locateRedisServer({
      variant,
      log: console.log,
    });
    const where = {
      cwd: root,
      env: { REDIS_SERVER: path, REDIS_VARIANTS: '' },
    };
    results.push(await testRow(row, suites, where, version));
  } catch (error) {
    const note = error instanceof Error ? error.message : String(error);
    results.push({ row, ok: false, passed: 0, failed: 0, seconds: 0, note });
  }
}

console.log();
console.table(
  Object.fromEntries(results.map(({ row, ...result }) => [row, result])),
);
process.exit(results.every(({ ok }) => ok) ? 0 : 1);
