import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { transformWithOxc } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryIndex } from '../../../lib/deadlines/memory-index.js';
import { describeDeadlineIndex } from '../../support/deadline-index.conformance.js';

describeDeadlineIndex('MemoryIndex', () =>
  Promise.resolve({
    index: new MemoryIndex(),
    close: () => Promise.resolve(),
  }),
);

describe('MemoryIndex', () => {
  it('is asked at once, without a promise', async () => {
    const index = new MemoryIndex();
    const key = Buffer.from([0, 0xff]);
    await index.enrol([{ key, at: 5 }]);

    expect(index.has(key)).toBe(true);
    expect(index.has(Buffer.from([0]))).toBe(false);
    expect(index.count).toBe(1);
    expect(index.take(key)).toBe(5);
    expect(index.take(key)).toBeUndefined();
    expect(index.has(key)).toBe(false);
    expect(index.count).toBe(0);
  });
});

describe('a MemoryIndex that is looked at ahead', () => {
  const named = (name: string, at: number) => ({ key: Buffer.from(name), at });
  const settle = (
    index: MemoryIndex,
    name: string,
    seen: number,
    at?: number,
  ) => index.settle([{ key: Buffer.from(name), seen, at }]);
  async function peek(index: MemoryIndex, now: number) {
    const { due, next } = await index.peek(now, 100);
    return { due: due.map(({ key, at }) => `${String(key)} ${at}`), next };
  }

  it('gives each key out twice: ahead, until it was passed, and when it is due', async () => {
    const index = new MemoryIndex();
    await index.enrol([named('a', 100), named('b', 105), named('c', 300)]);
    index.lookAhead(20);

    expect(await peek(index, 80)).toEqual({ due: [], next: 80 });
    expect(await peek(index, 81)).toEqual({ due: ['a 100'], next: 85 });
    // Not passed, it is given out again.
    expect(await peek(index, 86)).toEqual({
      due: ['a 100', 'b 105'],
      next: 280,
    });
    index.pass([named('a', 100), named('b', 105)]);
    index.pass([named('a', 100), named('none', 100)]);
    expect(await peek(index, 100)).toEqual({ due: [], next: 100 });
    expect(await peek(index, 101)).toEqual({ due: ['a 100'], next: 105 });
    expect(index.take(Buffer.from('a'))).toBe(100);
    expect(await settle(index, 'b', 105, 400)).toEqual([true]);
    // Renewed, it has another look ahead.
    expect(await peek(index, 381)).toEqual({
      due: ['c 300', 'b 400'],
      next: undefined,
    });
  });

  it('looks again at a key that was enrolled anew with the same deadline, or a sooner one', async () => {
    const index = new MemoryIndex();
    index.lookAhead(20);
    await index.enrol([named('a', 100), named('b', 100), named('c', 100)]);
    index.pass([named('a', 100), named('b', 100), named('c', 100)]);
    await index.enrol([named('a', 100), named('b', 90), named('c', 110)]);

    expect(await peek(index, 85)).toEqual({
      due: ['b 90', 'a 100'],
      next: 100,
    });
    // What was seen does not count any more.
    expect(await settle(index, 'b', 100)).toEqual([false]);
    index.pass([named('b', 100)]);
    expect(await peek(index, 85)).toEqual({
      due: ['b 90', 'a 100'],
      next: 100,
    });
  });

  it('keeps what it knew when it begins', async () => {
    const index = new MemoryIndex();
    await index.enrol([named('a', 100)]);
    expect(await peek(index, 90)).toEqual({ due: [], next: 100 });
    index.lookAhead(20);
    index.pass([named('a', 100)]);
    // A second time does not change the first.
    index.lookAhead(50);

    expect(await peek(index, 100)).toEqual({ due: [], next: 100 });
    expect(await settle(index, 'a', 100)).toEqual([true]);
    expect(index.count).toBe(0);
  });
});

describe('the memory of a MemoryIndex', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'memory-index-'));
    for (const name of ['deadlines/memory-index', 'util/slot-heap']) {
      const file = new URL(`../../../lib/${name}.ts`, import.meta.url);
      await mkdir(dirname(join(dir, name)), { recursive: true });
      const { code } = await transformWithOxc(
        await readFile(file, 'utf8'),
        `${name}.ts`,
      );
      await writeFile(join(dir, `${name}.js`), code);
    }
    await writeFile(join(dir, 'package.json'), '{ "type": "module" }');
  });
  afterAll(() => rm(dir, { recursive: true }));

  /** Runs a script in a process that holds nothing else. `used()` is what it uses, in bytes. */
  async function measure(script: string): Promise<Record<string, number>> {
    const module = pathToFileURL(join(dir, 'deadlines/memory-index.js')).href;
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--expose-gc',
      '--input-type=module',
      '--eval',
      `
      const { MemoryIndex } = await import(${JSON.stringify(module)});
      // The whole as asked for: array buffers count twice, as they are part of external.
      function used() {
        for (let i = 0; i < 3; i++) globalThis.gc();
        const { heapUsed, arrayBuffers, external } = process.memoryUsage();
        return heapUsed + arrayBuffers + external;
      }
      const keyOf = (i) => Buffer.from(i.toString(16).padStart(16, '0'));
      const index = new MemoryIndex();
      async function fill(from, to) {
        for (let i = from; i < to; i += 1000) {
          const entries = [];
          for (let j = i; j < i + 1000; j++)
            entries.push({ key: keyOf(j), at: 1_800_000_000_000 + (j * 7919) % 3_600_000 });
          await index.enrol(entries);
        }
      }
      ${script}
      `,
    ]);
    return JSON.parse(stdout) as Record<string, number>;
  }

  it('is 150 bytes a key at most, with a million keys of 16 bytes', async () => {
    const { perKey, count } = await measure(`
      const before = used();
      await fill(0, 1_000_000);
      const perKey = (used() - before) / 1_000_000;
      console.log(JSON.stringify({ perKey, count: index.count }));
    `);

    console.log(`MemoryIndex: ${perKey!.toFixed(1)} bytes per key`);
    expect(count).toBe(1_000_000);
    expect(perKey).toBeGreaterThan(30);
    expect(perKey).toBeLessThanOrEqual(150);
  });

  it('does not grow as keys come and go', async () => {
    const { first, last, count } = await measure(`
      const before = used();
      let first;
      for (let round = 0; round < 6; round++) {
        await fill(round * 50_000, (round + 1) * 50_000);
        for (;;) {
          const { due } = await index.peek(Infinity, 500);
          if (due.length === 0) break;
          await index.settle(due.map(({ key, at }) => ({ key, seen: at, at: undefined })));
        }
        if (round === 1) first = used() - before;
      }
      const last = used() - before;
      console.log(JSON.stringify({ first, last, count: index.count }));
    `);

    expect(count).toBe(0);
    expect(last! - first!).toBeLessThan(1_000_000);
  });
});
