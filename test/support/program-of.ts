import { join } from 'node:path';
import { inject } from 'vitest';
import type { ProgramName } from './programs.js';

/** The file of a program, as bundled for this run. */
export const programOf = (name: ProgramName): string =>
  join(inject('programs'), `${name}.js`);
