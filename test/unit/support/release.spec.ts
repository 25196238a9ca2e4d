import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { absoluteLinks, notesOf, obstacles } from '../../../.ci/release.mjs';
import { pages } from '../../support/docs/pages.js';

const home = 'https://github.com/someone/nestjs-redis-expiry';

describe('a release', () => {
  it('has a README whose links work anywhere', () => {
    const readme = absoluteLinks(pages[0]!.text, home, 'v1.0.0');

    const links = [...readme.matchAll(/\]\(([^)\s]+)\)/g)].map(([, to]) => to!);
    expect(links.length).toBeGreaterThan(20);
    expect(links.filter((to) => !to.startsWith('https://'))).toEqual([]);
    expect(readme).toContain(
      '](https://raw.githubusercontent.com/someone/nestjs-redis-expiry/v1.0.0/test/bench/results/lateness.svg)',
    );
    expect(readme).toContain(`(${home}/blob/v1.0.0/docs/15-faq.md)`);
    expect(readme).toContain(`](${home}/blob/v1.0.0/LICENSE)`);
  });

  it('is refused with placeholders, another tag, or no word in the changelog', () => {
    const manifest = JSON.stringify({ version: '1.2.0', homepage: 'OWNER' });
    const changelog = '# Changelog\n\n## 1.2.0 (unreleased)\n\n- New.\n';

    expect(obstacles({ manifest, changelog, tag: 'v1.1.0' })).toEqual([
      expect.stringContaining('placeholder'),
      expect.stringContaining('"v1.1.0"'),
      expect.stringContaining('## 1.2.0'),
    ]);
  });

  it('is described by its part of the changelog', () => {
    const manifest = JSON.stringify({ version: '1.2.0' });
    const changelog =
      '# Changelog\n\n## 1.2.0 (2027-01-01)\n\n- New.\n\n## 1.1.0 (2026-12-24)\n\n- Old.\n';

    expect(obstacles({ manifest, changelog, tag: 'v1.2.0' })).toEqual([]);
    expect(notesOf(changelog, '1.2.0')).toBe('- New.');
  });

  it('has a changelog that knows the version of package.json', () => {
    const read = (name: string): string =>
      readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8');
    const { version } = JSON.parse(read('package.json')) as { version: string };

    expect(read('CHANGELOG.md')).toContain(`## ${version} (`);
  });
});
