import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { allPages, anchors, pages, root } from '../support/docs/pages.js';

/** What TypeDoc makes when the site is built. */
const GENERATED = join(root, 'docs/api');

function isDead(from: string, link: string): boolean {
  const [file = '', anchor] = link.split('#');
  const path = file === '' ? from : join(from, '..', file);
  if (path.startsWith(GENERATED)) return false;
  if (!existsSync(path)) return true;
  if (anchor === undefined) return false;
  const page = allPages.find((one) => one.path === path);
  return page === undefined || !anchors(page.text).includes(anchor);
}

describe('the documentation', () => {
  it.each(allPages)('has no dead links in $name', ({ path, text }) => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link = '']) => link)
      .filter((link) => !/^\w+:/.test(link));

    expect(links.filter((link) => isDead(path, link))).toEqual([]);
  });

  it('has a README that takes five minutes', () => {
    const words = pages[0]!.text.split(/\s+/).filter(Boolean);

    expect(words.length).toBeLessThanOrEqual(1_200);
  });

  it('is reached from README, page by page', () => {
    const readme = pages[0]!.text;
    const missing = pages
      .slice(1)
      .filter(({ name }) => !readme.includes(`](${name}`));

    expect(missing.map(({ name }) => name)).toEqual([]);
  });
});
