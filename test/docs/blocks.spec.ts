import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  afterAll,
  beforeAll,
  describe,
  expect,
  inject,
  it,
  onTestFinished,
  vi,
} from 'vitest';
import { type Block, blocks, root } from '../support/docs/pages.js';
import { PATIENCE_MS } from '../support/patience.js';
import { RedisServer } from '../support/redis/redis-server.mjs';

/** In the project, as what is compiled imports the project's packages. */
const directory = join(root, '.cache', `docs-blocks-${process.pid}`);
const out = join(directory, 'out');

/** What a block that imports nothing may take for granted. */
const PREAMBLE = `import { OnKeyExpired, RedisExpiryModule, type RedisExpirySubscriber } from 'nestjs-redis-expiry';
declare const subscriber: RedisExpirySubscriber;
void [OnKeyExpired, RedisExpiryModule];
export {};
`;

const ENTRIES: Record<string, string> = {
  'nestjs-redis-expiry': 'lib/index.ts',
  'nestjs-redis-expiry/otel': 'lib/otel/index.ts',
  'nestjs-redis-expiry/terminus': 'lib/terminus/index.ts',
  'nestjs-redis-expiry/testing': 'lib/testing/index.ts',
};

let problems: string;

beforeAll(async () => {
  await mkdir(directory, { recursive: true });
  const paths = Object.fromEntries(
    Object.entries(ENTRIES).map(([name, path]) => [name, [join(root, path)]]),
  );
  await Promise.all([
    writeFile(
      join(directory, 'tsconfig.json'),
      JSON.stringify({
        extends: join(root, 'tsconfig.json'),
        compilerOptions: {
          ...{ paths, rootDir: root, outDir: out, noEmit: false },
          ...{ declaration: false, noUnusedLocals: false },
          ...{ noUnusedParameters: false },
        },
        include: ['*.ts'],
        exclude: [],
      }),
    ),
    ...blocks.map(({ id, code }) =>
      writeFile(
        join(directory, `${id}.ts`),
        /^import /m.test(code) ? code : PREAMBLE + code,
      ),
    ),
  ]);
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  problems = await promisify(execFile)(process.execPath, [
    ...[tsc, '-p', directory],
  ]).then(
    () => '',
    ({ stdout }: { stdout: string }) => stdout,
  );
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** The block as a program, which imports the sources and finds its server by `REDIS_URL`. */
async function program({ id }: Block): Promise<string> {
  const path = join(out, directory.slice(root.length), `${id}.js`);
  let text = await readFile(path, 'utf8');
  for (const [name, entry] of Object.entries(ENTRIES))
    text = text.replaceAll(
      `'${name}'`,
      `'${join(out, entry.replace('.ts', '.js'))}'`,
    );
  text = text.replace(
    'forRoot()',
    'forRoot({ connection: process.env.REDIS_URL })',
  );
  await writeFile(path, text);
  return path;
}

async function run(block: Block, url: string) {
  const child = spawn(process.execPath, [await program(block)], {
    env: { ...process.env, REDIS_URL: url, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const process_ = { child, output: '' };
  for (const stream of [child.stdout, child.stderr])
    stream
      .setEncoding('utf8')
      .on('data', (text: string) => (process_.output += text));
  return process_;
}

const runnable = (name: string): Block[] =>
  blocks.filter((block) => block.run === name);

describe('blocks of TypeScript in README and docs', () => {
  it('compile, all of them', () => {
    expect(problems).toBe('');
    expect(blocks.length).toBeGreaterThan(15);
    expect(blocks.filter(({ run: how }) => how !== undefined)).toHaveLength(7);
  });

  it.each(runnable('quick-start'))(
    'run: the whole program of $id handles an expiry',
    async (block) => {
      const redis = await RedisServer.start({
        path: inject('redisServerPath'),
      });
      onTestFinished(() => redis.stop());
      const { Redis } = await import('ioredis');
      const client = new Redis(redis.url);
      onTestFinished(() => client.disconnect());
      const app = await run(block, redis.url);

      await vi.waitFor(
        async () => {
          await client.set('device:42', 'here', 'PX', 20);
          expect(app.output).toMatch(
            /^42 went offline, noticed \d+ ms later$/m,
          );
        },
        { timeout: PATIENCE_MS, interval: 100 },
      );
    },
  );

  it.each(runnable('real-redis'))(
    'run: $id ends well with a server',
    async (block) => {
      const redis = await RedisServer.start({
        path: inject('redisServerPath'),
      });
      onTestFinished(() => redis.stop());
      const test = await run(block, redis.url);
      const [code] = (await once(test.child, 'close')) as [number | null];

      expect({ code, output: test.output }).toMatchObject({ code: 0 });
    },
  );

  it.each([...runnable('unit-test'), ...runnable('test-kit')])(
    'run: $id ends well without a server',
    async (block) => {
      const test = await run(block, 'redis://127.0.0.1:1');
      const [code] = (await once(test.child, 'close')) as [number | null];

      expect({ code, output: test.output }).toMatchObject({ code: 0 });
    },
  );
});
