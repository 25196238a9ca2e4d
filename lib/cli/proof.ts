import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { CheckContext, DoctorNode } from './context.js';
import { ask } from './context.js';
import { type Heard, Hearing } from './hearing.js';
import { ownKeys, removeOwn } from './own-keys.js';

/** Ms that an event may take to come. */
const PATIENCE_MS = 1_000;

/** What became of a key of the doctor's own that ran out. */
export type Proof =
  'not tried' | { refused: string } | { events: Heard[]; ms: number };

/** Lets a key of its own run out, and listens. */
export async function prove(
  node: DoctorNode,
  context: CheckContext,
): Promise<Proof> {
  if (context.readOnly || node.info.get('role') === 'slave') return 'not tried';
  const place = await ownKeys(node, context);
  if ('refused' in place) return place;
  const key = `${place.prefix}proof`;
  const events: Heard[] = [];
  const hearing = await Hearing.open(node, context, [key], (heard) =>
    events.push(heard),
  );
  try {
    await node.redis.set(key, '', 'PX', 20);
    await delay(25);
    const asked = performance.now();
    const isExpired = (): Heard | undefined =>
      events.find(({ event }) => event === 'expired');
    // To ask for a key that is due makes Redis remove and announce it.
    while (!isExpired() && performance.now() - asked < PATIENCE_MS) {
      await ask(node.redis.exists(key));
      await delay(5);
    }
    await delay(20);
    return { events, ms: (isExpired()?.at ?? asked) - asked };
  } finally {
    hearing.close();
    await removeOwn(node, [key]);
  }
}
