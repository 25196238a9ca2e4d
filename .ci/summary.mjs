/** Prints "N passed, N failed" from vitest's JSON report: `node summary.mjs REPORT EXIT_CODE`. */
import { readFileSync } from 'node:fs';

const [report = '', exitCode] = process.argv.slice(2);
let passed = 0;
let failed = 0;
try {
  const result = JSON.parse(readFileSync(report, 'utf8'));
  passed = result.numPassedTests;
  failed = result.numFailedTests;
  // A file that cannot be loaded fails without a test that fails.
  for (const { status, assertionResults } of result.testResults)
    if (status === 'failed' && !assertionResults.some(isFailed)) failed++;
} catch {
  // No report: vitest did not come to its end.
}
// An error outside of all tests, say.
if (exitCode !== '0' && failed === 0) failed = 1;
console.log(`${passed} passed, ${failed} failed`);

/** @param {{ status: string }} test */
function isFailed({ status }) {
  return status === 'failed';
}
