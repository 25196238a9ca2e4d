import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

/** The root of the project. */
export const root = resolve(import.meta.dirname, '../../..');

const DOCS = join(root, 'docs');

/** One page of Markdown that people read. */
export interface Page {
  /** Its path, from the root of the project. */
  readonly name: string;
  readonly path: string;
  readonly text: string;
}

function page(path: string): Page {
  return { name: relative(root, path), path, text: readFileSync(path, 'utf8') };
}

/** README and the numbered pages. */
export const pages: readonly Page[] = [
  page(join(root, 'README.md')),
  ...readdirSync(DOCS)
    .filter((name) => /^\d\d-.*\.md$/.test(name))
    .toSorted()
    .map((name) => page(join(DOCS, name))),
];

/** Every page that may be linked to, or that has links. */
export const allPages: readonly Page[] = [
  ...pages,
  ...readdirSync(root)
    .filter((name) => name.endsWith('.md') && name !== 'README.md')
    .map((name) => page(join(root, name))),
  ...readdirSync(join(root, 'sample'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /(^|\/)README\.md$/.test(name))
    .map((name) => page(join(root, 'sample', name))),
];

/** The page of the documentation whose name begins with that number. */
export const pageOf = (number: string): Page =>
  pages.find(({ name }) => name.startsWith(`docs/${number}-`))!;

/** A block of TypeScript in a page. */
export interface Block {
  /** Page and line, as a file may be named. */
  readonly id: string;
  readonly code: string;
  /** What `<!-- run: … -->` before it says. */
  readonly run: string | undefined;
}

/** Every block of TypeScript in README and docs. */
export const blocks: readonly Block[] = pages.flatMap(({ name, text }) =>
  [...text.matchAll(/(?:<!-- run: (\S+) -->\s*)?^```ts\n([^]*?)^```$/gm)].map(
    ({ index, 1: run, 2: code = '' }) => {
      const line = text.slice(0, index).split('\n').length;
      const base = name.replace(/^.*\//, '').replace('.md', '');
      return { id: `${base}-line-${line}`, code, run };
    },
  ),
);

/** The cells of the first column of every table in a text, without backticks. */
export const firstColumn = (text: string): string[] =>
  [...text.matchAll(/^\| `([^`|]+)`/gm)].map(([, cell = '']) => cell);

/** Headings of a page, as GitHub and VitePress name their anchors. */
export const anchors = (text: string): string[] =>
  [...text.replace(/^```[^]*?^```$/gm, '').matchAll(/^#+ (.+)$/gm)].map(
    ([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .trim()
        .replaceAll(' ', '-'),
  );
