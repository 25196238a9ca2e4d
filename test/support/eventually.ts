import { vi } from 'vitest';
import { PATIENCE_MS } from './patience.js';

/** Ms for which it is looked often, as most things are there soon; and ms between two looks after that, as some are costly. */
const SOON = { timeout: 60, interval: 5 };
const LATER_MS = 40;

/** Resolves soon after the assertion holds; rejects with its last failure when it never does. */
export async function eventually<T>(
  assertion: () => T | Promise<T>,
  {
    timeout = PATIENCE_MS,
    interval,
  }: { timeout?: number; interval?: number } = {},
): Promise<T> {
  if (interval === undefined && timeout > SOON.timeout) {
    try {
      return await vi.waitFor(assertion, SOON);
    } catch {
      // It takes longer.
    }
  }
  return vi.waitFor(assertion, { timeout, interval: interval ?? LATER_MS });
}

export interface Deferred<T = void> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/** A promise that the test settles when it wants to. */
export function deferred<T = void>(): Deferred<T> {
  let settle!: Pick<Deferred<T>, 'resolve' | 'reject'>;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, ...settle };
}

/** Resolves after a turn of the event loop in which input was read. */
export async function turns(count = 1): Promise<void> {
  for (let i = 0; i < count; i++)
    await new Promise((resolve) => setImmediate(resolve));
}
