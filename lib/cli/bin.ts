#!/usr/bin/env node
import { main } from './main.js';

// Who reads it may have enough of it, as `head` has.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

// Not exit(): what was written to a pipe would be cut off.
process.exitCode = await main(process.argv.slice(2), {
  out: process.stdout,
  errors: process.stderr,
});
