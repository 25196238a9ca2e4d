import { vi } from 'vitest';
import { PATIENCE_MS } from './patience.js';

/** Resolves as soon as the assertion holds; rejects with its last failure when it never does. */
export function eventually<T>(
  assertion: () => T | Promise<T>,
  { timeout = PATIENCE_MS, interval = 5 } = {},
): Promise<T> {
  return vi.waitFor(assertion, { timeout, interval });
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
