import { describe, expect, it } from 'vitest';
import { RecheckQueue } from '../../../lib/group/recheck-queue.js';
import { deferred, eventually, turns } from '../../support/eventually.js';

/** RecheckQueue whose judging is recorded, and fails as often as is said. */
function suspectsUnderTest() {
  const judged: string[][] = [];
  const errors: unknown[] = [];
  const fail = { next: 0 };
  const suspects = new RecheckQueue(
    (keys) => {
      judged.push(keys.map((key) => key.toString('latin1')));
      return fail.next-- > 0
        ? Promise.reject(new Error('Redis is away'))
        : Promise.resolve();
    },
    (error) => errors.push(error),
  );
  return { suspects, judged, errors, fail };
}

const keyOf = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('RecheckQueue', () => {
  it('has keys judged together, each once', async () => {
    const { suspects, judged } = suspectsUnderTest();
    suspects.resume();
    for (const key of ['a', 'b', 'a']) suspects.expired(keyOf(key));
    suspects.changed(keyOf('b'));
    suspects.changed(keyOf('\xff\0'));
    await turns(3);

    expect(judged).toEqual([['a', 'b', '\xff\0']]);
  });

  it('judges in batches, and what comes meanwhile in the next one', async () => {
    const judged: number[] = [];
    const first = deferred();
    const suspects = new RecheckQueue(
      async (keys) => {
        judged.push(keys.length);
        if (judged.length === 1) await first.promise;
      },
      () => undefined,
    );
    suspects.resume();
    for (let i = 0; i < 1_200; i++) suspects.expired(keyOf(`k${i}`));
    await turns(3);
    expect(judged).toEqual([500]);
    suspects.expired(keyOf('late'));
    first.resolve();
    await turns(5);

    expect(judged).toEqual([500, 500, 200, 1]);
  });

  it('ignores everything while it is paused, and forgets what waits', async () => {
    const { suspects, judged } = suspectsUnderTest();
    suspects.expired(keyOf('early'));
    suspects.resume();
    suspects.expired(keyOf('forgotten'));
    suspects.pause();
    suspects.changed(keyOf('late'));
    await turns(3);
    expect(judged).toEqual([]);

    suspects.resume();
    suspects.expired(keyOf('a'));
    await turns(3);
    expect(judged).toEqual([['a']]);
  });

  it('judges again what failed, with what came since', async () => {
    const { suspects, judged, errors, fail } = suspectsUnderTest();
    fail.next = 2;
    suspects.resume();
    suspects.expired(keyOf('a'));
    await turns(3);
    suspects.expired(keyOf('b'));
    await eventually(() => expect(judged).toHaveLength(3));

    expect(judged.map((keys) => keys.toSorted())).toEqual([
      ['a'],
      ['a', 'b'],
      ['a', 'b'],
    ]);
    expect(errors).toHaveLength(2);
  });

  it('goes on after a pause that came right after a failure', async () => {
    // As when Redis restarts: first a command fails, then the listener is lost, then both are back.
    const { suspects, judged, fail } = suspectsUnderTest();
    fail.next = 1;
    suspects.resume();
    suspects.expired(keyOf('a'));
    await turns(3);
    expect(judged).toEqual([['a']]);

    suspects.pause();
    suspects.resume();
    suspects.expired(keyOf('b'));

    await eventually(() => expect(judged).toEqual([['a'], ['b']]));
  });

  it('goes on after a pause during which judging failed', async () => {
    const gate = deferred();
    const judged: string[][] = [];
    const suspects = new RecheckQueue(
      async (keys) => {
        judged.push(keys.map(String));
        if (judged.length === 1) await gate.promise;
      },
      () => undefined,
    );
    suspects.resume();
    suspects.expired(keyOf('a'));
    await turns(3);
    suspects.pause();
    gate.reject(new Error('Redis is away'));
    await turns(3);
    suspects.resume();
    suspects.expired(keyOf('b'));

    await eventually(() => expect(judged).toEqual([['a'], ['b']]));
  });

  it('bounds what waits of mere changes, and never leaves out an expiry', async () => {
    const { suspects, judged } = suspectsUnderTest();
    suspects.resume();
    for (let i = 0; i < 60_000; i++) suspects.changed(keyOf(`c${i}`));
    suspects.expired(keyOf('x'));
    await eventually(() => expect(judged.flat()).toContain('x'));

    expect(judged.flat()).toHaveLength(50_001);
    expect(Math.max(...judged.map((keys) => keys.length))).toBe(500);
  });
});
