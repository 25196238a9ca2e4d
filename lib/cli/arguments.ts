import { parseArgs } from 'node:util';
import { withoutPasswords } from '../errors/redis-expiry.error.js';
import { CliError, notAccepted } from './cli-error.js';

/** What the command line says, checked. */
export interface Arguments {
  /** The words that are no options: the command, and what it works on. */
  readonly words: readonly string[];
  readonly patterns: readonly string[];
  readonly group: string | undefined;
  readonly namespace: string;
  /** Ms to listen for, to measure lateness. */
  readonly measureMs: number;
  readonly json: boolean;
  readonly strict: boolean;
  readonly readOnly: boolean;
  readonly cluster: boolean;
  readonly help: boolean;
  readonly version: boolean;
}

const OPTIONS = {
  pattern: { type: 'string', multiple: true },
  group: { type: 'string' },
  namespace: { type: 'string' },
  measure: { type: 'string' },
  json: { type: 'boolean' },
  strict: { type: 'boolean' },
  'read-only': { type: 'boolean' },
  cluster: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const;

/** Reads the command line. Throws a `CliError` that names the option, its value and what is accepted. */
export function readArguments(argv: readonly string[]): Arguments {
  const { values, positionals } = parse(argv);
  return {
    words: positionals,
    patterns: (values.pattern ?? []).map((pattern) =>
      nonEmpty('--pattern', pattern, "a glob of keys, as 'device:*'"),
    ),
    group:
      values.group === undefined
        ? undefined
        : nonEmpty('--group', values.group, 'the name of a group, as presence'),
    namespace: nonEmpty(
      '--namespace',
      values.namespace ?? 'rx',
      "the module's option namespace, as rx",
    ),
    measureMs: duration(values.measure ?? '20s'),
    json: values.json ?? false,
    strict: values.strict ?? false,
    readOnly: values['read-only'] ?? false,
    cluster: values.cluster ?? false,
    help: values.help ?? false,
    version: values.version ?? false,
  };
}

/** Checks a URL, whose password no message shows. */
export function readUrl(url: string | undefined): string {
  const accepted =
    'redis://[user:password@]host:port[/database], rediss://… or unix:///path';
  if (url === undefined)
    throw new CliError(`The URL is missing; accepted: ${accepted}.`);
  if (!/^(rediss?|unix):\/\//.test(url))
    throw notAccepted('The URL', withoutPasswords(url), accepted);
  const { protocol, pathname } = URL.canParse(url)
    ? new URL(url)
    : { protocol: '', pathname: '' };
  const isSocket = protocol === 'unix:' && pathname.length > 1;
  if (!isSocket && !(protocol !== '' && /^\/?\d*$/.test(pathname)))
    throw notAccepted('The URL', withoutPasswords(url), accepted);
  return url;
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: OPTIONS,
      allowPositionals: true,
    });
  } catch (error) {
    const names = Object.keys(OPTIONS).map((name) => `--${name}`);
    const [sentence] = (error as Error).message.split('. ');
    throw new CliError(
      `${sentence!.replace(/\.$/, '')}; accepted: ${names.join(', ')}.`,
    );
  }
}

function nonEmpty(name: string, value: string, accepted: string): string {
  if (value === '') throw notAccepted(`Option ${name}`, value, accepted);
  return value;
}

function duration(text: string): number {
  const [, amount, unit] = /^(\d{1,6}(?:\.\d+)?)(ms|s|m)$/.exec(text) ?? [];
  const ms = Number(amount) * { ms: 1, s: 1_000, m: 60_000 }[unit ?? 'ms']!;
  if (!(ms >= 500 && ms <= 600_000))
    throw notAccepted(
      'Option --measure',
      text,
      'a time from 500ms to 10m, as 20s',
    );
  return ms;
}
