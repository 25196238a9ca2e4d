import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

const names = ['chromium', 'chromium-browser', 'google-chrome'];

/**
 * The path of a Chromium, if there is one: CHROMIUM_PATH, else one in its usual place or on PATH.
 * Where CI runs, its absence is an error, lest the browser tests vanish unnoticed; NO_BROWSER=1
 * does without one anywhere.
 */
export async function findChromium(): Promise<string | undefined> {
  const { CHROMIUM_PATH, CI, NO_BROWSER, PATH = '' } = process.env;
  if (NO_BROWSER === '1') return undefined;
  // Whoever names one wants that one.
  const candidates = CHROMIUM_PATH
    ? [CHROMIUM_PATH]
    : ['/usr/bin', ...PATH.split(delimiter)].flatMap((directory) =>
        names.map((name) => join(directory, name)),
      );
  for (const path of candidates) if (await isExecutable(path)) return path;
  if (CHROMIUM_PATH || (CI && CI !== 'false')) {
    throw new Error(
      `No Chromium found${CHROMIUM_PATH ? ` at CHROMIUM_PATH=${CHROMIUM_PATH}` : ''}. ` +
        'Install one (apt-get install -y chromium), name one (CHROMIUM_PATH=/path/to/chromium), ' +
        'or do without (NO_BROWSER=1).',
    );
  }
  return undefined;
}

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
