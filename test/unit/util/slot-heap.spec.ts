import { describe, expect, it } from 'vitest';
import { SlotHeap } from '../../../lib/util/slot-heap.js';
import { Random } from '../../support/random.js';

/** Empties a heap, in its order. */
function drain(heap: SlotHeap): [slot: number, time: number][] {
  const drained: [number, number][] = [];
  for (let slot = heap.first; slot !== undefined; slot = heap.first) {
    drained.push([slot, heap.timeOf(slot)]);
    heap.remove(slot);
  }
  return drained;
}

/** Whether the first is one of those with the least time. */
function isFirstRight(
  heap: SlotHeap,
  model: ReadonlyMap<number, number>,
): boolean {
  const least = Math.min(...model.values());
  const first = heap.first!;
  return heap.timeOf(first) === least && model.get(first) === least;
}

describe('SlotHeap', () => {
  it('is empty at first, and after its last slot was removed', () => {
    const heap = new SlotHeap();
    expect(heap.first).toBeUndefined();
    expect(heap.size).toBe(0);

    heap.set(0, 5);
    expect(heap.first).toBe(0);
    heap.remove(0);

    expect(heap.first).toBeUndefined();
    expect(heap.size).toBe(0);
  });

  it('hands out slots by their times', () => {
    const heap = new SlotHeap();
    for (const [slot, time] of [30, 10, 20, 0, 40].entries())
      heap.set(slot, time);

    expect(drain(heap)).toEqual([
      [3, 0],
      [1, 10],
      [2, 20],
      [0, 30],
      [4, 40],
    ]);
  });

  it('moves a slot to another time, either way', () => {
    const heap = new SlotHeap();
    for (let slot = 0; slot < 100; slot++) heap.set(slot, slot);
    heap.set(70, -1);
    heap.set(0, 1_000);
    heap.set(50, 50);

    const order = drain(heap).map(([slot]) => slot);
    expect(order).toHaveLength(100);
    expect(order[0]).toBe(70);
    expect(order.at(-1)).toBe(0);
    expect(order.slice(1, 3)).toEqual([1, 2]);
  });

  it('takes slots far beyond its first size, and real times with them', () => {
    const heap = new SlotHeap();
    const now = Date.UTC(2026, 10, 23);
    heap.set(100_000, now + 0.5);
    heap.set(5_000, now);
    heap.set(1_023, now + 2 ** 40);
    heap.set(1_024, now - 1);

    expect(drain(heap)).toEqual([
      [1_024, now - 1],
      [5_000, now],
      [100_000, now + 0.5],
      [1_023, now + 2 ** 40],
    ]);
  });

  it.for([1, 2, 3, 4])('is in order after any changes (seed %i)', (seed) => {
    const random = new Random(seed);
    const heap = new SlotHeap();
    const model = new Map<number, number>();
    // Few times, so that many are equal; more slots than it has room for at first.
    const spread = seed % 2 === 0 ? 50 : 1_000_000;
    const firsts: boolean[] = [];
    for (let step = 0; step < 40_000; step++) {
      const slot = random.below(4_000);
      if (random.below(3) > 0) {
        const time = random.below(spread);
        heap.set(slot, time);
        model.set(slot, time);
      } else if (model.delete(slot)) heap.remove(slot);
      if (step % 200 === 199) firsts.push(isFirstRight(heap, model));
    }

    expect(firsts).toEqual(firsts.map(() => true));
    expect(heap.size).toBe(model.size);
    expect(model.size).toBeGreaterThan(1_000);
    const drained = drain(heap);
    expect(drained.map(([, time]) => time)).toEqual(
      [...model.values()].toSorted((a, b) => a - b),
    );
    expect(new Map(drained)).toEqual(model);
  });
});
