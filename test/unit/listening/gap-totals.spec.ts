import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ListeningGaps } from '../../../lib/listening/gap.js';
import { GapTotals } from '../../../lib/listening/gap-totals.js';
import { LogBook } from '../../support/logs.js';

describe('GapTotals', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 }));
  afterEach(() => void vi.useRealTimers());

  const pass = (ms: number) => vi.setSystemTime(Date.now() + ms);

  it('adds up the gaps of all nodes, those that last included', () => {
    const totals = new GapTotals();
    const [a, b] = ['a', 'b'].map(
      (node) => new ListeningGaps(node, undefined, new LogBook(), totals),
    );
    expect(totals.status).toEqual({ count: 0, seconds: 0 });

    a!.lost(Date.now() - 500, 'the connection closed');
    pass(1_000);
    b!.lost(Date.now(), 'the connection closed');
    pass(250);
    expect(totals.status).toEqual({ count: 2, seconds: 2 });

    a!.end();
    pass(1_000);
    expect(totals.status).toEqual({ count: 2, seconds: 3 });
  });

  it('keeps what it counted when a node leaves, and does not count on', () => {
    const totals = new GapTotals();
    const gaps = new ListeningGaps('a', undefined, new LogBook(), totals);
    gaps.lost(Date.now() - 2_000, 'the connection closed');
    gaps.close();
    pass(60_000);
    gaps.end();

    expect(totals.status).toEqual({ count: 1, seconds: 2 });
  });

  it('does not fall when the clock is set back', () => {
    const totals = new GapTotals();
    const gaps = new ListeningGaps('a', undefined, new LogBook(), totals);
    gaps.lost(Date.now(), 'the connection closed');
    pass(-60_000);

    expect(totals.status).toEqual({ count: 1, seconds: 0 });
  });
});
