/**
 * The soak test for some minutes: `npm run test:soak [minutes]`, 10 if left out. What else is on the
 * command line is vitest's.
 */
import { spawn } from 'node:child_process';

const [first = '', ...rest] = process.argv.slice(2);
const isNumber = /^\d+(\.\d+)?$/.test(first);
const minutes = isNumber ? first : '10';
const args = isNumber || first === '' ? rest : [first, ...rest];
const child = spawn(
  'npx',
  [
    'vitest',
    'run',
    '--project',
    'soak',
    '--disable-console-intercept',
    ...args,
  ],
  { stdio: 'inherit', env: { ...process.env, SOAK_MINUTES: minutes } },
);
child.once('close', (code) => process.exit(code ?? 1));
