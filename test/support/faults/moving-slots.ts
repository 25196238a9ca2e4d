import { setTimeout as delay } from 'node:timers/promises';
import { type TestCluster, keyForSlot, slotOf } from '../cluster.js';
import { type History, names } from '../group/history.js';
import type { TestServer } from '../servers.js';

/** Keys that run out before the next step of a move. */
const PER_STEP = 4;

/** As many different keys in each of some slots. */
export const keysIn = (
  slots: readonly number[],
  prefix: string,
  count: number,
): string[] =>
  slots.flatMap((slot) => names(`{${keyForSlot(slot)}}${prefix}`, count));

/**
 * Moves slots one after the other, so slowly that of these keys some run out at each step, where
 * they were and where they are to be. Returns how many did while their slot was on its way.
 */
export async function moveSlowly(
  cluster: TestCluster,
  slots: readonly number[],
  to: TestServer,
  keys: readonly string[],
  history: History,
): Promise<number> {
  let onTheWay = 0;
  for (const slot of slots) {
    const deadlines = keys
      .filter((key) => slotOf(key) === slot)
      .map((key) => history.deadlineOf(key, 1))
      .toSorted((a, b) => a - b);
    const ahead = (): number[] => deadlines.filter((d) => d >= Date.now());
    const before = ahead().length;
    await cluster.moveSlot(slot, to, {
      batch: 8,
      pauseBetween: async () => {
        const next = ahead().slice(0, PER_STEP).at(-1);
        if (next !== undefined) await delay(next - Date.now() + 1);
      },
    });
    onTheWay += before - ahead().length;
  }
  return onTheWay;
}
