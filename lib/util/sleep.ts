import { setTimeout as delay } from 'node:timers/promises';

/** How a `sleep` may end early, and what it keeps from ending. */
export interface SleepOptions {
  /** Aborting it ends the sleep. */
  readonly signal?: AbortSignal;
  /** Whether the sleep keeps the process alive; it does unless told otherwise. */
  readonly ref?: boolean;
}

/** Resolves after so many ms, or when the signal is aborted. Never rejects: the signal tells which it was. */
export async function sleep(
  ms: number,
  options: SleepOptions = {},
): Promise<void> {
  await delay(ms, undefined, options).catch(() => undefined);
}
