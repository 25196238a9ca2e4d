import { availableParallelism, loadavg } from 'node:os';

/** More processes for each core than this are not reckoned with. */
const MOST = 5;

/**
 * Ms that are as many times more as there are processes for each of the machine's cores, by the
 * system's average of the last minute; on a machine that has little else to do, the same ms. For what
 * has to be far enough ahead for a test to get ready, and for bounds that tell a second from a minute.
 */
export function paced(ms: number): number {
  const processes = loadavg()[0]! / availableParallelism();
  // The tests themselves keep the cores busy for a part of the time.
  return Math.round(ms * Math.min(MOST, Math.max(1, processes - 0.5)));
}
