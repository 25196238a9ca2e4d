/**
 * Steps of a release: `node .ci/release.mjs prepare` in a checkout that is thrown away afterwards, and
 * `node .ci/release.mjs notes`.
 *
 * - prepare: refuses placeholders in package.json, a TAG that is not the version, and a version that
 *   CHANGELOG.md does not know or calls unreleased. Then it makes the links of README absolute, as npm shows
 *   README without the repository around it. Without a TAG it warns of what it would refuse.
 * - notes: prints what CHANGELOG.md says of the version.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = resolve(import.meta.dirname, '..');
/** @param {string} name */
const read = (name) => readFileSync(resolve(root, name), 'utf8');

/**
 * README with links that work anywhere.
 *
 * @param {string} readme
 * @param {string} repository as in https://github.com/owner/name
 * @param {string} ref a tag or branch
 */
export function absoluteLinks(readme, repository, ref) {
  const raw = repository.replace(
    '//github.com/',
    '//raw.githubusercontent.com/',
  );
  return readme.replace(
    /(!?)(\[(?:[^[\]]|\[[^\]]*\]\([^)]*\))*\])\((?!\w+:|#)([^)\s]+)\)/g,
    (_, image, text, path) =>
      image
        ? `!${text}(${raw}/${ref}/${path})`
        : `${text}(${repository}/blob/${ref}/${path})`,
  );
}

/**
 * What keeps this from being released as that tag.
 *
 * @param {{ manifest: string, changelog: string, tag: string }} given
 * @returns {string[]}
 */
export function obstacles({ manifest, changelog, tag }) {
  const { version } = JSON.parse(manifest);
  const found = [];
  if (manifest.includes('OWNER'))
    found.push('package.json has the placeholder OWNER: see CONTRIBUTING.md');
  if (tag !== `v${version}`)
    found.push(`the tag is "${tag}", and the version ${version}`);
  if (notesOf(changelog, version) === undefined)
    found.push(`CHANGELOG.md has no section "## ${version}" with a date`);
  return found;
}

/**
 * What the changelog says of a version that is not "unreleased".
 *
 * @param {string} changelog
 * @param {string} version
 * @returns {string | undefined}
 */
export function notesOf(changelog, version) {
  const sections = changelog.split(/^## /m).slice(1);
  const section = sections.find((text) => text.startsWith(`${version} (2`));
  return section?.slice(section.indexOf('\n')).trim();
}

function prepare() {
  const manifest = read('package.json');
  const changelog = read('CHANGELOG.md');
  const tag = process.env.TAG ?? '';
  const found = obstacles({ manifest, changelog, tag });
  for (const each of found) console.error(`Not ready: ${each}.`);
  if (tag !== '' && found.length > 0) process.exit(1);
  const { repository } = JSON.parse(manifest);
  const home = repository.url.replace(/^git\+|\.git$/g, '');
  const readme = absoluteLinks(read('README.md'), home, tag || 'main');
  writeFileSync(resolve(root, 'README.md'), readme);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [step] = process.argv.slice(2);
  const { version } = JSON.parse(read('package.json'));
  if (step === 'prepare') prepare();
  else if (step === 'notes')
    console.log(notesOf(read('CHANGELOG.md'), version) ?? '');
  else {
    console.error('Usage: node .ci/release.mjs prepare|notes');
    process.exit(1);
  }
}
