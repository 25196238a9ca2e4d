import type { Commands } from '../connection/commands.js';
import { codeOfText, forbidsKey } from '../connection/server-error.js';
import { PROBE_VALUES } from '../scripts/probe-values.lua.js';
import { LETTERS, type ValueWishes } from './value-reader.js';

/** A command by which values are read, and what the server says that refuses it. */
export interface RefusedRead {
  readonly command: string;
  readonly text: string;
}

/**
 * Tries the commands by which the values are read that are asked for. Resolves with the first one that the user may not
 * run, or that the server does not have; with undefined where there is none. Rejects as the connection does, and where
 * scripts are refused.
 */
export async function refusedRead(
  commands: Commands,
  { kinds, example }: ValueWishes,
): Promise<RefusedRead | undefined> {
  if (kinds === undefined) return undefined;
  const refused = (await commands.run((redis) =>
    PROBE_VALUES.run(redis, [], example ?? '', LETTERS[kinds]),
  )) as string[];
  for (let i = 0; i < refused.length; i += 2) {
    const [command, text] = [refused[i]!, refused[i + 1]!];
    const code = codeOfText(text);
    const isRefused = code === 'NOPERM' || code === 'UNKNOWN_COMMAND';
    if (isRefused && !forbidsKey(text)) return { command, text };
  }
  return undefined;
}
