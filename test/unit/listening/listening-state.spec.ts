import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ListeningState } from '../../../lib/listening/listening-state.js';

describe('since', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: 0 }));
  afterEach(() => void vi.useRealTimers());

  const well = { refusal: undefined, refusedSince: undefined };

  it('is when it came to listen, or ceased to, whatever it tries meanwhile', () => {
    const state = new ListeningState('redis:1', false);
    const at = (ms: number, enter: () => void): number => {
      vi.setSystemTime(ms);
      enter();
      return state.status(well).since.getTime();
    };

    expect(at(10, () => state.enter('subscribing'))).toBe(0);
    expect(at(20, () => state.enter('listening'))).toBe(20);
    expect(at(30, () => state.enter('listening'))).toBe(20);
    expect(at(40, () => state.lost('closed'))).toBe(40);
    expect(at(50, () => state.enter('subscribing'))).toBe(40);
    expect(at(60, () => state.enter('deaf'))).toBe(40);
    expect(at(70, () => state.enter('listening'))).toBe(70);
  });

  it('is when the connection for commands was refused, where only that is', () => {
    const state = new ListeningState('redis:1', false);
    state.enter('listening');

    expect(
      state.status({ refusal: 'WRONGPASS', refusedSince: new Date(30) }),
    ).toMatchObject({ state: 'refused', since: new Date(30) });
  });
});
