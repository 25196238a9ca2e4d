import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes of the heap that something still refers to. */
export function heapUsed(): number {
  collectGarbage();
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/**
 * The bytes that each run of some work leaves on the heap. Of three rounds the one counts that left
 * least: what leaks shows in all, and what is made once (caches, compiled code) in the first only.
 * The work is called with the number of times that it is to be done.
 */
export async function bytesLeft(
  timesPerRound: number,
  work: (times: number) => Promise<void>,
): Promise<number> {
  let least = Infinity;
  let before = heapUsed();
  for (let round = 0; round < 3; round++) {
    await work(timesPerRound);
    const after = heapUsed();
    least = Math.min(least, (after - before) / timesPerRound);
    before = after;
  }
  return least;
}
