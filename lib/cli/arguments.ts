import { parseArgs } from 'node:util';
import { CliError, notAccepted } from './cli-error.js';

/** Every command, and the options that are for it beside those that are for each. */
const COMMANDS = {
  doctor: ['pattern', 'group', 'measure', 'read-only', 'strict'],
  status: ['group', 'strict'],
  'dead-letters list': ['group', 'count', 'after'],
  'dead-letters show': [],
  'dead-letters redrive': ['group', 'all'],
  'dead-letters discard': ['group', 'all'],
} as const satisfies Record<string, readonly OptionName[]>;

/** Options of every command. */
const COMMON: readonly OptionName[] = [
  ...(['namespace', 'key-prefix', 'primary', 'cluster'] as const),
  ...(['json', 'help', 'version'] as const),
];

const OPTIONS = {
  pattern: { type: 'string', multiple: true },
  group: { type: 'string' },
  measure: { type: 'string' },
  'read-only': { type: 'boolean' },
  strict: { type: 'boolean' },
  count: { type: 'string' },
  after: { type: 'string' },
  all: { type: 'boolean' },
  namespace: { type: 'string' },
  'key-prefix': { type: 'string' },
  primary: { type: 'string' },
  cluster: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const;

type OptionName = keyof typeof OPTIONS;

export type Command = keyof typeof COMMANDS;

/** What the command line says, checked. */
export interface Arguments {
  /** Undefined where only `--help` or `--version`, or nothing, was given. */
  readonly command: Command | undefined;
  /** The words after the command: the URL, and what else it works on. */
  readonly words: readonly string[];
  readonly patterns: readonly string[];
  readonly group: string | undefined;
  /** Ms to listen for, to measure lateness. */
  readonly measureMs: number;
  readonly readOnly: boolean;
  readonly strict: boolean;
  /** Dead letters of a page. */
  readonly count: number;
  readonly after: string | undefined;
  readonly all: boolean;
  readonly namespace: string;
  readonly keyPrefix: string;
  /** The name by which Sentinels know the primary. */
  readonly primary: string | undefined;
  readonly cluster: boolean;
  readonly json: boolean;
  readonly help: boolean;
  readonly version: boolean;
}

/** Reads the command line. Throws a `CliError` that names the option, its value and what is accepted. */
export function readArguments(argv: readonly string[]): Arguments {
  const { values, positionals } = parse(argv);
  const { help = false, version = false } = values;
  const [command, words] = readCommand(positionals);
  if (command === undefined && words.length > 0 && !help && !version)
    throw unknownCommand(positionals);
  if (command !== undefined) checkOptions(command, Object.keys(values));
  return {
    command,
    words,
    patterns: (values.pattern ?? []).map((pattern) =>
      nonEmpty('--pattern', pattern, "a glob of keys, as 'device:*'"),
    ),
    group: values.group === undefined ? undefined : readGroup(values.group),
    measureMs: duration(values.measure ?? '20s'),
    readOnly: values['read-only'] ?? false,
    strict: values.strict ?? false,
    count: pageSize(values.count ?? '20'),
    after: values.after,
    all: values.all ?? false,
    namespace: nonEmpty(
      '--namespace',
      values.namespace ?? 'rx',
      "the module's option namespace, as rx",
    ),
    keyPrefix: values['key-prefix'] ?? '',
    primary: values.primary,
    cluster: values.cluster ?? false,
    json: values.json ?? false,
    help,
    version,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: OPTIONS,
      allowPositionals: true,
    });
  } catch (error) {
    const [sentence] = (error as Error).message.split('. ');
    throw new CliError(
      `${sentence!.replace(/\.$/, '')}; accepted: ${named(Object.keys(OPTIONS))}.`,
    );
  }
}

/** The command, of one word or of two, and the words after it. */
function readCommand(
  words: readonly string[],
): [Command | undefined, readonly string[]] {
  for (const length of [1, 2]) {
    const name = words.slice(0, length).join(' ');
    if (Object.hasOwn(COMMANDS, name))
      return [name as Command, words.slice(length)];
  }
  return [undefined, words];
}

function unknownCommand([first, second]: readonly string[]): CliError {
  const commands = Object.keys(COMMANDS);
  const below = commands.filter((name) => name.startsWith(`${first} `));
  return below.length > 0
    ? notAccepted(`What to do with ${first}`, second ?? '', below.join(', '))
    : notAccepted('The command', first!, commands.join(', '));
}

function checkOptions(command: Command, given: readonly string[]): void {
  const accepted: readonly string[] = [...COMMANDS[command], ...COMMON];
  const wrong = given.find((name) => !accepted.includes(name));
  if (wrong !== undefined)
    throw new CliError(
      `Option --${wrong} is not for ${command}; accepted: ${named(accepted)}.`,
    );
}

const named = (names: readonly string[]): string =>
  names.map((name) => `--${name}`).join(', ');

function nonEmpty(name: string, value: string, accepted: string): string {
  if (value === '') throw notAccepted(`Option ${name}`, value, accepted);
  return value;
}

function readGroup(value: string): string {
  if (!/^[^{}\s]+$/.test(value))
    throw notAccepted(
      'Option --group',
      value,
      'the name of a group, without spaces and braces, as presence',
    );
  return value;
}

function pageSize(text: string): number {
  const count = Number(text);
  if (!/^\d{1,4}$/.test(text) || count < 1 || count > 1_000)
    throw notAccepted('Option --count', text, 'a number from 1 to 1000');
  return count;
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
