import { describe, expect, it } from 'vitest';
import { Fifo } from '../../../lib/util/fifo.js';
import { Random } from '../../support/random.js';

describe('Fifo', () => {
  it('is empty at first', () => {
    const fifo = new Fifo<number>();

    expect(fifo.size).toBe(0);
    expect(fifo.shift()).toBeUndefined();
    expect(fifo.size).toBe(0);
  });

  it('gives back what it was given, in order, however pushes and shifts mix', () => {
    const random = new Random(1);
    const fifo = new Fifo<number>();
    const model: number[] = [];
    const taken: (number | undefined)[][] = [];
    for (let step = 0, next = 0; step < 20_000; step++) {
      // Grows to some thousands and shrinks to nothing, again and again.
      const growing = Math.floor(step / 4_000) % 2 === 0;
      if (random.below(10) < (growing ? 8 : 2)) {
        fifo.push(next);
        model.push(next++);
      } else {
        taken.push([fifo.shift(), model.shift()]);
      }
      expect(fifo.size).toBe(model.length);
    }
    expect(taken.filter(([ours, right]) => ours !== right)).toEqual([]);
  });

  it('hands on undefined as any other item', () => {
    const fifo = new Fifo<undefined | string>();
    fifo.push(undefined);
    fifo.push('b');

    expect(fifo.size).toBe(2);
    expect(fifo.shift()).toBeUndefined();
    expect(fifo.size).toBe(1);
    expect(fifo.shift()).toBe('b');
  });

  it('can be used again after clear', () => {
    const fifo = new Fifo<number>();
    for (let i = 0; i < 5_000; i++) fifo.push(i);
    for (let i = 0; i < 1_500; i++) fifo.shift();

    fifo.clear();

    expect(fifo.size).toBe(0);
    expect(fifo.shift()).toBeUndefined();
    fifo.push(7);
    expect(fifo.size).toBe(1);
    expect(fifo.shift()).toBe(7);
  });

  it('takes no longer for an item when it holds many', () => {
    const time = (size: number): number => {
      const fifo = new Fifo<number>();
      for (let i = 0; i < size; i++) fifo.push(i);
      const start = performance.now();
      for (let i = 0; i < size; i++) fifo.shift();
      return performance.now() - start;
    };

    // Array.prototype.shift, being linear, would take a minute.
    expect(time(500_000)).toBeLessThan(20_000);
  });
});
