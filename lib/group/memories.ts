import type { GroupKeys } from './group-keys.js';
import type { Partition } from './partition.js';

/** Entries that are handed on in one step. */
const PAGE = 500;
/** Ms for which `told` and `settled` matter; and by how much more, as the clocks of instance and server may differ. */
const MEMORY_MS = 600_000 + 60_000;

type Rememberer = Pick<Partition, 'commands' | 'keys'>;

/** What a partition remembers for some minutes of expiries that are over: an entry that comes late is not to be told again. */
export const memoriesOf = ({
  told,
  settled,
  ended,
  back,
}: GroupKeys): string[] => [told, settled, ended, back];

/**
 * Gives what a partition remembers to the one that watches its node now. Resolves with how much that is; what was
 * remembered while this was done may not have been given. Rejects as the commands do; done twice it has no effect.
 */
export async function handOnMemories(
  from: Rememberer,
  to: Rememberer,
): Promise<number> {
  const there = memoriesOf(to.keys);
  const { told, settled } = from.keys;
  let count = 0;
  for (const [i, name] of memoriesOf(from.keys).entries()) {
    // The others matter for as long as the longest grace, which may be days: the heir trims them.
    const isBrief = name === told || name === settled;
    const since = isBrief ? Date.now() - MEMORY_MS : -Infinity;
    count += await from.commands.run((redis) => redis.zcard(name));
    let cursor = '0';
    do {
      const [next, flat] = await from.commands.run((redis) =>
        redis.zscanBuffer(name, cursor, 'COUNT', PAGE),
      );
      cursor = next.toString();
      await add(to, there[i]!, flat, since);
    } while (cursor !== '0');
  }
  return count;
}

/**
 * @param flat members and their scores, as ZSCAN has them
 * @param since what is older is left out, in epoch ms
 */
async function add(
  { commands }: Rememberer,
  name: string,
  flat: readonly Buffer[],
  since: number,
): Promise<void> {
  const words: Buffer[] = [];
  for (let i = 0; i < flat.length; i += 2)
    if (Number(flat[i + 1]) > since) words.push(flat[i + 1]!, flat[i]!);
  if (words.length === 0) return;
  await commands.run((redis) => redis.call('ZADD', name, 'GT', ...words));
}
