import { describe, expect, it } from 'vitest';
import { Lifetime } from '../../../lib/util/lifetime.js';
import { deferred, turns } from '../../support/eventually.js';
import { bytesLeft } from '../../support/heap.js';

describe('Lifetime', () => {
  it('settles as the answer does while it lasts', async () => {
    const life = new Lifetime();
    await expect(life.guard(Promise.resolve(7))).resolves.toBe(7);
    const refused = Promise.reject(new Error('refused'));
    await expect(life.guard(refused)).rejects.toThrow('refused');
    expect(life.waiting).toBe(0);
    expect(life.ended).toBeUndefined();
  });

  it('rejects all that waits when it ends, with the first reason, and everything after that', async () => {
    const life = new Lifetime();
    const first = life.guard(new Promise(() => undefined));
    const second = life.guard(new Promise(() => undefined));
    expect(life.waiting).toBe(2);
    const reason = new Error('lost');
    life.end(reason);
    life.end(new Error('later'));

    await expect(first).rejects.toBe(reason);
    await expect(second).rejects.toBe(reason);
    await expect(life.guard(Promise.resolve(7))).rejects.toBe(reason);
    expect(life.waiting).toBe(0);
    expect(life.ended).toBe(reason);
  });

  it('leaves no rejection unhandled that comes after its end', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): number => unhandled.push(reason);
    process.on('unhandledRejection', note);
    const life = new Lifetime();
    const [early, late] = [deferred(), deferred()];
    const guarded = life.guard(early.promise);
    life.end(new Error('lost'));
    await expect(guarded).rejects.toThrow('lost');
    await expect(life.guard(late.promise)).rejects.toThrow('lost');
    early.reject(new Error('early'));
    late.reject(new Error('late'));
    await turns(2);
    process.off('unhandledRejection', note);

    expect(unhandled).toEqual([]);
  });

  it('keeps nothing of an answer that came', async () => {
    const life = new Lifetime();
    const left = await bytesLeft(5_000, async (times) => {
      for (let i = 0; i < times; i++) await life.guard(Promise.resolve(i));
    });

    // About 300 where each answer races against a promise that lives as long.
    expect(left).toBeLessThan(100);
  });
});
