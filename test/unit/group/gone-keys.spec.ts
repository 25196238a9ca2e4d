import { describe, expect, it } from 'vitest';
import { GoneKeys } from '../../../lib/group/gone-keys.js';

const key = (name: string): Buffer => Buffer.from(name);

/** Keys whose judge takes as long as the test says. */
function scene() {
  const rounds: { keys: string[]; end: () => void }[] = [];
  let begun: () => void;
  let next = new Promise<void>((resolve) => (begun = resolve));
  const gone = new GoneKeys(
    (keys) =>
      new Promise((resolve) => {
        rounds.push({ keys: keys.map(String), end: resolve });
        begun();
        next = new Promise((again) => (begun = again));
      }),
    (error) => expect.fail(String(error)),
  );
  gone.resume();
  return { gone, rounds, round: () => next };
}

describe('GoneKeys', () => {
  it('tells of a pause which keys nobody had judged: those that waited, and those that were under way', async () => {
    const { gone, rounds, round } = scene();
    const first = round();
    gone.add(key('under way'));
    await first;
    gone.add(key('waits'));

    gone.pause();

    expect(rounds.map(({ keys }) => keys)).toEqual([['under way']]);
    expect(gone.wasLeft(key('under way'))).toBe(true);
    expect(gone.wasLeft(key('waits'))).toBe(true);
    expect(gone.wasLeft(key('another'))).toBe(false);
  });

  it('does not count a key that was judged, or written anew', async () => {
    const { gone, rounds, round } = scene();
    const first = round();
    gone.add(key('judged'));
    await first;
    rounds[0]!.end();
    await new Promise((resolve) => setImmediate(resolve));
    gone.add(key('written'));
    gone.add(key('waits'));
    gone.remove(key('written'));

    gone.pause();

    expect(gone.wasLeft(key('judged'))).toBe(false);
    expect(gone.wasLeft(key('written'))).toBe(false);
    expect(gone.wasLeft(key('waits'))).toBe(true);
  });
});
