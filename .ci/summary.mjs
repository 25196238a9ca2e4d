/**
 * Prints what failed, a line each, and at last "N passed, N failed": `node summary.mjs DIRECTORY`.
 * Whoever sees the end of the output only learns what to look for.
 *
 * In the directory, each run of tests has a file NAME.exit, which holds its exit code, and reports
 * of vitest in JSON: NAME.json, or NAME.PART.json for each of its parts. The sums are over all runs.
 * Exits with 0 if every run ended well.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

const [directory = ''] = process.argv.slice(2);
const files = readdirSync(directory).toSorted();
const sum = { passed: 0, failed: 0 };
for (const file of files.filter((name) => name.endsWith('.exit'))) {
  const run = file.slice(0, -'.exit'.length);
  const exitCode = readFileSync(join(directory, file), 'utf8').trim();
  let failed = 0;
  for (const name of files)
    if (name.startsWith(`${run}.`) && name.endsWith('.json'))
      failed += addReport(name.slice(0, -'.json'.length));
  // No report, as vitest did not come to its end; or an error outside of all tests.
  if (exitCode !== '0' && failed === 0) {
    failed = 1;
    tell(run, [`ended with exit code ${exitCode}`]);
  }
  sum.failed += failed;
}
console.log(`${sum.passed} passed, ${sum.failed} failed`);
process.exit(sum.failed > 0 ? 1 : 0);

/**
 * @param {string} part
 * @returns {number} what failed in it
 */
function addReport(part) {
  const path = join(directory, `${part}.json`);
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(
    readFileSync(path, 'utf8'),
  );
  sum.passed += numPassedTests;
  let failed = numFailedTests;
  for (const { name, status, message, assertionResults } of testResults) {
    const file = `${part}: ${relative(process.cwd(), name)}`;
    const failures = assertionResults.filter(isFailed);
    // A file that cannot be loaded fails without a test that fails.
    if (status === 'failed' && failures.length === 0) {
      failed++;
      tell(file, [message]);
    }
    for (const { fullName, failureMessages } of failures)
      tell(`${file}: ${fullName}`, failureMessages);
  }
  return failed;
}

/**
 * @param {string} what
 * @param {string[]} messages
 */
function tell(what, messages) {
  const reason = stripVTControlCharacters(messages.join('; '))
    .split(/\n\s+at /)[0]
    .replace(/\s+/g, ' ')
    .slice(0, 500);
  console.log(`✗ ${what}\n  ${reason}`);
}

/** @param {{ status: string }} test */
function isFailed({ status }) {
  return status === 'failed';
}
