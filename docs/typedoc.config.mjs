/** The API reference: what each entry point of the package exports, by its docstrings. */
import { readFileSync } from 'node:fs';

const { exports } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  plugin: ['typedoc-plugin-markdown'],
  entryPoints: Object.values(exports)
    .filter((entry) => typeof entry === 'object')
    .map(({ types }) =>
      types.replace('./dist', '../lib').replace('.d.ts', '.ts'),
    ),
  tsconfig: 'tsconfig.json',
  out: 'api',
  name: 'API reference',
  readme: 'none',
  disableSources: true,
  excludePrivate: true,
  excludeInternal: true,
  // A type that is used and not exported is one that nobody can read about.
  treatWarningsAsErrors: true,
  hidePageHeader: true,
  hideBreadcrumbs: true,
  entryFileName: 'index',
  parametersFormat: 'table',
};
