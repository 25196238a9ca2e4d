#!/usr/bin/env node
import { main } from './main.js';

// Not exit(): what was written to a pipe would be cut off.
process.exitCode = await main(process.argv.slice(2), process.stdout);
