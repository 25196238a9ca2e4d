/** The site of the documentation: `npm run docs` builds it, `npm run docs:dev` shows it while you write. */
import { readFileSync, readdirSync } from 'node:fs';
import { defineConfig } from 'vitepress';

const docs = new URL('..', import.meta.url);
const { repository } = JSON.parse(
  readFileSync(new URL('../package.json', docs), 'utf8'),
);
const home = repository.url.replace(/^git\+|\.git$/g, '');

/** The numbered pages, in the order of their numbers, by their first headings. */
const pages = readdirSync(docs)
  .filter((name) => /^\d\d-.*\.md$/.test(name))
  .toSorted()
  .map((name) => {
    const text = readFileSync(new URL(name, docs), 'utf8');
    const title = /^# (.+)$/m.exec(text)?.[1] ?? name;
    return {
      text: title.replaceAll('`', ''),
      link: `/${name.replace('.md', '')}`,
    };
  });

export default defineConfig({
  title: 'nestjs-redis-expiry',
  description: 'Run a NestJS method when a Redis key expires.',
  // Pages refer to each other as on GitHub; what leads nowhere fails the build.
  ignoreDeadLinks: false,
  cleanUrls: true,
  lastUpdated: false,
  srcExclude: ['README.md'],
  markdown: {
    config(md) {
      const fence = md.renderer.rules.fence;
      md.renderer.rules.fence = (tokens, index, ...rest) => {
        const { info, content } = tokens[index];
        return info.trim() === 'mermaid'
          ? `<Mermaid code="${encodeURIComponent(content)}" />`
          : fence(tokens, index, ...rest);
      };
    },
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Guide', link: pages[0].link, activeMatch: String.raw`^/\d\d-` },
      { text: 'API', link: '/api/', activeMatch: '^/api/' },
    ],
    sidebar: [
      { text: 'Guide', items: pages },
      { text: 'Reference', items: [{ text: 'API', link: '/api/' }] },
    ],
    socialLinks: [{ icon: 'github', link: home }],
  },
});
