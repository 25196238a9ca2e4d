/**
 * Prints what failed, a line each, and at last "N passed, N failed", from vitest's JSON report:
 * `node summary.mjs REPORT EXIT_CODE`. Whoever sees the end of the output only learns what to look for.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

const [report = '', exitCode] = process.argv.slice(2);
let passed = 0;
let failed = 0;
try {
  const result = JSON.parse(readFileSync(report, 'utf8'));
  passed = result.numPassedTests;
  failed = result.numFailedTests;
  // A file that cannot be loaded fails without a test that fails.
  for (const {
    name,
    status,
    message,
    assertionResults,
  } of result.testResults) {
    const failures = assertionResults.filter(isFailed);
    if (status === 'failed' && failures.length === 0) {
      failed++;
      tell(name, [message]);
    }
    for (const { fullName, failureMessages } of failures)
      tell(`${name}: ${fullName}`, failureMessages);
  }
} catch {
  // No report: vitest did not come to its end.
}
// An error outside of all tests, say.
if (exitCode !== '0' && failed === 0) failed = 1;
console.log(`${passed} passed, ${failed} failed`);

/**
 * @param {string} what
 * @param {string[]} messages
 */
function tell(what, messages) {
  const reason = stripVTControlCharacters(messages.join('; '))
    .split(/\n\s+at /)[0]
    .replace(/\s+/g, ' ')
    .slice(0, 500);
  console.log(`✗ ${relative(process.cwd(), what)}\n  ${reason}`);
}

/** @param {{ status: string }} test */
function isFailed({ status }) {
  return status === 'failed';
}
