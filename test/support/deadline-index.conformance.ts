import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type {
  DeadlineEntry,
  DeadlineIndex,
  Verdict,
} from '../../lib/deadlines/deadline-index.js';
import { Random } from './random.js';

/** An index that is empty, and how to be rid of it. */
export interface IndexUnderTest {
  readonly index: DeadlineIndex;
  close(): Promise<void>;
}

/** Some time to count from. */
const T = 1_000_000;
/** After every deadline of these tests. */
const LATE = T * 10;

const keyOf = (text: string): Buffer => Buffer.from(text, 'latin1');
const entry = (text: string, at: number): DeadlineEntry => ({
  key: keyOf(text),
  at,
});
const later = (text: string, seen: number, at: number): Verdict => ({
  key: keyOf(text),
  seen,
  at,
});
const gone = (text: string, seen: number): Verdict => ({
  key: keyOf(text),
  seen,
  at: undefined,
});

/** Entries as text, which is what a failure should show. */
const shown = (due: readonly DeadlineEntry[]): [string, number][] =>
  due.map(({ key, at }) => [key.toString('latin1'), at]);

/** By name: in which order entries of the same time come is left open. */
const byName = (entries: Iterable<[string, number]>): [string, number][] =>
  [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1));

/** Takes a key out, whatever its entry, and tells what it was. */
async function remove(
  index: DeadlineIndex,
  key: Buffer,
): Promise<number | undefined> {
  const { due } = await index.peek(LATE, 10_000);
  const found = due.find((candidate) => candidate.key.equals(key));
  if (!found) return undefined;
  const [applied] = await index.settle([
    { key, seen: found.at, at: undefined },
  ]);
  assert.equal(applied, true);
  return found.at;
}

/** What every `DeadlineIndex` must do, whatever it keeps its entries in. */
export function describeDeadlineIndex(
  name: string,
  create: () => Promise<IndexUnderTest>,
): void {
  describe(`${name} as a DeadlineIndex`, () => {
    let index: DeadlineIndex;
    let close: () => Promise<void>;

    beforeEach(async () => {
      const made = await create();
      index = made.index;
      close = () => made.close();
    });
    afterEach(() => close());

    const all = async (): Promise<[string, number][]> =>
      shown((await index.peek(LATE, 10_000)).due);

    describe('enrol', () => {
      it('adds keys that it does not know', async () => {
        expect(await index.size()).toBe(0);
        expect(await index.peek(LATE, 10)).toEqual({
          due: [],
          next: undefined,
        });

        await index.enrol([entry('b', T + 2), entry('a', T + 1)]);
        await index.enrol([entry('c', T + 3)]);

        expect(await index.size()).toBe(3);
        expect(await all()).toEqual([
          ['a', T + 1],
          ['b', T + 2],
          ['c', T + 3],
        ]);
      });

      it('takes no entries at all', async () => {
        await index.enrol([]);

        expect(await index.size()).toBe(0);
      });

      it('brings the look at a key forward, and never back', async () => {
        await index.enrol([entry('a', T + 50)]);
        await index.enrol([entry('a', T + 60)]);
        expect(await all()).toEqual([['a', T + 50]]);

        await index.enrol([entry('a', T + 40)]);
        expect(await all()).toEqual([['a', T + 40]]);

        await index.enrol([entry('a', T + 40)]);
        await index.enrol([entry('a', T + 45)]);
        expect(await all()).toEqual([['a', T + 40]]);
        expect(await index.size()).toBe(1);
      });

      it('does so for a key that is named twice in one call', async () => {
        await index.enrol([
          entry('a', T + 3),
          entry('a', T + 1),
          entry('a', T + 2),
          entry('b', T + 1),
          entry('b', T + 3),
        ]);

        expect(await index.size()).toBe(2);
        expect(byName(await all())).toEqual([
          ['a', T + 1],
          ['b', T + 1],
        ]);
      });

      it('knows a key anew, with any deadline, after it was let go', async () => {
        await index.enrol([entry('a', T + 1), entry('b', T + 1)]);
        await index.settle([gone('a', T + 1)]);
        await remove(index, keyOf('b'));

        await index.enrol([entry('a', T + 9), entry('b', T + 8)]);

        expect(await all()).toEqual([
          ['b', T + 8],
          ['a', T + 9],
        ]);
      });

      it('tells keys apart by their bytes, and hands back the same bytes', async () => {
        const keys = [
          Buffer.from([]),
          Buffer.from([0]),
          Buffer.from('a'),
          Buffer.from('a\0'),
          Buffer.from('A'),
          Buffer.from('line\r\nbreak'),
          Buffer.from('naïve 鍵 \u{1f511}'),
          // No UTF-8: as text these two would be the same.
          Buffer.from([0xff, 0xfe, 0x80]),
          Buffer.from([0xff, 0xfd, 0x80]),
          Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
          Buffer.alloc(5_000, 'long'),
        ];

        await index.enrol(keys.map((key, i) => ({ key, at: T + i })));

        const { due } = await index.peek(LATE, 100);
        expect(due.map(({ key }) => key.toString('hex'))).toEqual(
          keys.map((key) => key.toString('hex')),
        );
        expect(due.every(({ key }) => Buffer.isBuffer(key))).toBe(true);
        for (const [i, key] of keys.entries())
          expect(await remove(index, key)).toBe(T + i);
        expect(await index.size()).toBe(0);
      });

      it("keeps no hold of the caller's buffers, nor gives out its own", async () => {
        const chunk = Buffer.from('--key--');
        await index.enrol([{ key: chunk.subarray(2, 5), at: T }]);
        chunk.fill('x');
        const { due } = await index.peek(LATE, 1);
        due[0]!.key.fill('y');

        expect(await all()).toEqual([['key', T]]);
        expect(await index.settle([gone('key', T)])).toEqual([true]);
      });
    });

    describe('peek', () => {
      it('returns what is due before now, and not at now', async () => {
        await index.enrol([entry('a', T), entry('b', T + 1)]);

        const at = async (now: number) => {
          const { due, next } = await index.peek(now, 10);
          return { due: shown(due), next };
        };
        expect(await at(T - 1)).toEqual({ due: [], next: T });
        expect(await at(T)).toEqual({ due: [], next: T });
        expect(await at(T + 1)).toEqual({ due: [['a', T]], next: T + 1 });
        expect(await at(T + 2)).toEqual({
          due: [
            ['a', T],
            ['b', T + 1],
          ],
          next: undefined,
        });
      });

      it('returns the oldest first, and no more than the limit', async () => {
        const random = new Random(1);
        const times = Array.from({ length: 300 }, () => random.below(200));
        await index.enrol(times.map((t, i) => entry(`k${i}`, T + t)));
        const sorted = times.map((t) => T + t).toSorted((a, b) => a - b);

        for (const limit of [1, 2, 299, 300, 301]) {
          const { due, next } = await index.peek(LATE, limit);
          expect(due.map(({ at }) => at)).toEqual(sorted.slice(0, limit));
          expect(new Set(shown(due).map(([key]) => key)).size).toBe(due.length);
          // Where the limit cuts off what is due, there is no saying when to come back.
          expect(limit >= 300 ? next : undefined).toBeUndefined();
        }
      });

      it('tells of the next one where the limit just takes all that is due', async () => {
        await index.enrol([
          entry('a', T + 1),
          entry('b', T + 2),
          entry('c', T + 9),
        ]);

        expect((await index.peek(T + 5, 2)).next).toBe(T + 9);
        expect((await index.peek(T + 5, 3)).next).toBe(T + 9);
      });

      it('decides nothing', async () => {
        await index.enrol(
          Array.from({ length: 50 }, (_, i) => entry(`k${i}`, T + (i % 7))),
        );
        const before = await all();

        const first = await index.peek(T + 4, 40);
        const second = await index.peek(T + 4, 40);

        expect(byName(shown(second.due))).toEqual(byName(shown(first.due)));
        expect(second.next).toBe(first.next);
        expect(byName(await all())).toEqual(byName(before));
        expect(await index.size()).toBe(50);
      });

      it('finds keys with real times and with times far apart', async () => {
        const now = Date.UTC(2026, 10, 23);
        const far = now + 400 * 86_400_000;
        await index.enrol([entry('far', far), entry('now', now)]);

        expect(await index.peek(now + 1, 5)).toEqual({
          due: [entry('now', now)],
          next: far,
        });
      });
    });

    describe('settle', () => {
      it('lets a key go', async () => {
        await index.enrol([entry('a', T), entry('b', T + 1)]);

        expect(await index.settle([gone('a', T)])).toEqual([true]);

        expect(await all()).toEqual([['b', T + 1]]);
        expect(await index.size()).toBe(1);
        expect(await remove(index, keyOf('a'))).toBeUndefined();
      });

      it('looks at a key later, or sooner', async () => {
        await index.enrol([
          entry('a', T),
          entry('b', T + 10),
          entry('c', T + 5),
        ]);

        expect(
          await index.settle([later('a', T, T + 20), later('b', T + 10, T)]),
        ).toEqual([true, true]);

        expect(await all()).toEqual([
          ['b', T],
          ['c', T + 5],
          ['a', T + 20],
        ]);
      });

      it('changes nothing where the entry is not the one that was seen', async () => {
        await index.enrol([entry('a', T + 5), entry('b', T + 6)]);

        expect(
          await index.settle([
            gone('a', T + 4),
            gone('a', T + 6),
            later('b', T + 5, T + 1),
            gone('unknown', T + 5),
            later('unknown', T + 5, T + 7),
          ]),
        ).toEqual([false, false, false, false, false]);

        expect(await all()).toEqual([
          ['a', T + 5],
          ['b', T + 6],
        ]);
      });

      it('leaves a key alone that was enrolled anew after it was seen', async () => {
        await index.enrol([entry('a', T + 5), entry('b', T + 5)]);
        const { due } = await index.peek(LATE, 10);
        await remove(index, keyOf('a'));
        await index.enrol([entry('a', T + 9), entry('b', T + 4)]);

        const verdicts = due.map(({ key, at }): Verdict => ({
          key,
          seen: at,
          at: undefined,
        }));
        expect(await index.settle(verdicts)).toEqual([false, false]);

        expect(await all()).toEqual([
          ['b', T + 4],
          ['a', T + 9],
        ]);
      });

      it('takes up a key that it does not know, if it was seen that way', async () => {
        await index.enrol([entry('known', T)]);
        const unseen = (text: string, at: number | undefined): Verdict => ({
          key: keyOf(text),
          seen: undefined,
          at,
        });

        expect(
          await index.settle([
            unseen('a', T + 1),
            unseen('a', T + 2),
            unseen('b', undefined),
            unseen('known', T + 3),
            unseen('known', undefined),
          ]),
        ).toEqual([true, false, true, false, false]);

        expect(await all()).toEqual([
          ['known', T],
          ['a', T + 1],
        ]);
      });

      it('gives a look to one caller only', async () => {
        await index.enrol([entry('a', T), entry('b', T), entry('c', T)]);

        expect(
          await index.settle([gone('a', T), later('b', T, T + 1)]),
        ).toEqual([true, true]);
        expect(
          await index.settle([gone('a', T), later('b', T, T + 1)]),
        ).toEqual([false, false]);
        const all20 = await Promise.all(
          Array.from({ length: 20 }, () => index.settle([gone('c', T)])),
        );

        expect(all20.flat().filter(Boolean)).toHaveLength(1);
        expect(await all()).toEqual([['b', T + 1]]);
      });

      it('applies the verdicts of one call one after the other', async () => {
        await index.enrol([entry('a', T), entry('b', T)]);

        expect(
          await index.settle([
            gone('a', T),
            gone('a', T),
            later('b', T, T + 1),
            later('b', T, T + 2),
            later('b', T + 1, T + 3),
          ]),
        ).toEqual([true, false, true, false, true]);

        expect(await all()).toEqual([['b', T + 3]]);
      });

      it('takes a key for seen that is to be looked at again at the same time', async () => {
        await index.enrol([entry('a', T)]);

        expect(await index.settle([later('a', T, T)])).toEqual([true]);
        expect(await all()).toEqual([['a', T]]);
        expect(await index.settle([])).toEqual([]);
      });

      it('settles hundreds at once, each by its own entry', async () => {
        const entries = Array.from({ length: 500 }, (_, i) =>
          entry(`k${i}`, T + i),
        );
        await index.enrol(entries);

        const settled = await index.settle(
          entries.map(({ key, at }, i) => ({
            key,
            seen: i % 5 === 0 ? at + 1 : at,
            at: i % 2 === 0 ? undefined : at + 1_000,
          })),
        );

        expect(settled).toEqual(entries.map((_, i) => i % 5 !== 0));
        expect(await index.size()).toBe(500 - 200);
        const { due } = await index.peek(T + 500, 500);
        expect(due.map(({ at }) => at)).toEqual(
          Array.from({ length: 100 }, (_, i) => T + i * 5),
        );
      });
    });

    it.for([11, 22, 33])(
      'does as a plain list would, whatever it is told (seed %i)',
      async (seed) => {
        const comparison = new Comparison(index, new Random(seed));
        for (let step = 0; step < 1_200; step++) await comparison.step();

        expect(byName(await all())).toEqual(byName(comparison.model));
        // It was put to the test.
        expect(Math.min(...Object.values(comparison.tally))).toBeGreaterThan(
          50,
        );
      },
    );
  });
}

/** Does the same things with an index and with a plain list, and compares them at every step. */
class Comparison {
  readonly model = new Map<string, number>();
  readonly tally = { settled: 0, refused: 0, brought: 0, removed: 0 };
  readonly #names = Array.from(
    { length: 120 },
    (_, i) => `${String.fromCharCode(i * 2)}key`,
  );
  /** What was seen lately, some of which no longer holds. */
  #seen: readonly DeadlineEntry[] = [entry('never', T)];

  constructor(
    private readonly index: DeadlineIndex,
    private readonly random: Random,
  ) {}

  async step(): Promise<void> {
    const { random } = this;
    const action = random.below(4);
    if (action === 0) await this.#enrol();
    else if (action === 1) await this.#peek();
    else if (action === 2) await this.#settle();
    else await this.#remove();
    assert.equal(await this.index.size(), this.model.size);
  }

  #time(): number {
    return T + this.random.below(400);
  }

  #entries(most: number): DeadlineEntry[] {
    return this.random
      .some(this.#names, 0, most)
      .map((name) => entry(name, this.#time()));
  }

  async #enrol(): Promise<void> {
    const entries = this.#entries(12);
    for (const [name, at] of shown(entries)) {
      const known = this.model.get(name);
      if (known !== undefined && known <= at) continue;
      if (known !== undefined) this.tally.brought++;
      this.model.set(name, at);
    }
    await this.index.enrol(entries);
  }

  async #peek(): Promise<void> {
    const now = this.#time() + 20;
    const limit = 1 + this.random.below(40);
    const { due, next } = await this.index.peek(now, limit);

    const sorted = [...this.model.values()].toSorted((a, b) => a - b);
    assert.deepEqual(
      due.map(({ at }) => at),
      sorted.filter((at) => at < now).slice(0, limit),
    );
    const cutOff = sorted[due.length]! < now;
    if (!cutOff) assert.equal(next, sorted[due.length]);
    assert.equal(new Map(shown(due)).size, due.length);
    for (const [key, at] of shown(due)) assert.equal(this.model.get(key), at);
    this.#seen = due.length > 0 ? due : this.#seen;
  }

  async #settle(): Promise<void> {
    const { random, model } = this;
    const verdicts = [
      ...random.some(this.#seen, 0, 8),
      ...this.#entries(2),
    ].map(({ key, at }): Verdict => ({
      key,
      seen: at,
      at: random.below(2) ? undefined : this.#time(),
    }));
    const expected = verdicts.map(({ key, seen, at }) => {
      const name = key.toString('latin1');
      const holds = model.get(name) === seen;
      this.tally[holds ? 'settled' : 'refused']++;
      if (holds && at === undefined) model.delete(name);
      else if (holds && at !== undefined) model.set(name, at);
      return holds;
    });

    assert.deepEqual(await this.index.settle(verdicts), expected);
  }

  async #remove(): Promise<void> {
    const name = this.random.pick(this.#names);
    const expected = this.model.get(name);
    if (this.model.delete(name)) this.tally.removed++;

    assert.equal(await remove(this.index, keyOf(name)), expected);
  }
}
