import { reasonOf, withoutPasswords } from '../errors/redis-expiry.error.js';
import { type Arguments, readArguments } from './arguments.js';
import { CliError } from './cli-error.js';
import {
  endAllLetters,
  endLetters,
  listLetters,
  showLetter,
} from './dead-letters.js';
import { doctor } from './doctor.js';
import { Output, type Sink } from './output.js';
import { status } from './status.js';
import { readUrl } from './url.js';
import { USAGE } from './usage.js';
import { packageVersion } from './version.js';

/** Where a command writes what it finds, and what goes wrong. */
export interface Sinks {
  readonly out: Sink;
  readonly errors: Sink;
}

/** Runs a command line, and resolves with the exit code. Never rejects. With `--json` errors are JSON, too. */
export async function main(
  argv: readonly string[],
  { out, errors }: Sinks,
  env: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  const output = new Output(out, env);
  try {
    const args = readArguments(argv);
    if (args.version) {
      output.line(packageVersion());
      return 0;
    }
    if (!args.help && args.command !== undefined)
      return await run(args, env, output);
    (args.help ? output : new Output(errors, env)).line(USAGE.trimEnd());
    return args.help ? 0 : 2;
  } catch (error) {
    const message =
      error instanceof CliError
        ? error.message
        : `It failed: ${withoutPasswords(reasonOf(error))}`;
    if (argv.includes('--json')) output.json({ error: message });
    else new Output(errors, env).line(message);
    return 2;
  }
}

function run(
  args: Arguments,
  env: NodeJS.ProcessEnv,
  output: Output,
): Promise<number> {
  const [given, ...rest] = args.words;
  const url = readUrl(given, env);
  switch (args.command!) {
    case 'doctor':
      none(rest);
      return doctor(url, args, output);
    case 'status':
      none(rest);
      return status(url, groupOf(args), args, output);
    case 'dead-letters list':
      none(rest);
      return listLetters(url, groupOf(args), args, output);
    case 'dead-letters show': {
      const [id, ...more] = rest;
      none(more);
      if (id === undefined)
        throw new CliError('The id of the letter is missing.');
      return showLetter(url, id, args, output);
    }
    case 'dead-letters redrive':
      return end('redrive', url, rest, args, output);
    case 'dead-letters discard':
      return end('discard', url, rest, args, output);
  }
}

/** By ids, or all of a group. */
function end(
  verb: 'redrive' | 'discard',
  url: string,
  ids: readonly string[],
  args: Arguments,
  output: Output,
): Promise<number> {
  if (args.all) {
    none(ids);
    return endAllLetters(verb, url, groupOf(args), args, output);
  }
  if (ids.length === 0)
    throw new CliError(
      `Which letters to ${verb} is missing; accepted: their ids, or --all --group with the name of the group.`,
    );
  return endLetters(verb, url, ids, args, output);
}

function groupOf({ group, command }: Arguments): string {
  if (group === undefined)
    throw new CliError(
      `Option --group is missing; ${command} needs the name of a group, as presence.`,
    );
  return group;
}

/** There is no word more. */
function none(words: readonly string[]): void {
  if (words.length > 0)
    throw new CliError(
      `There are words too many: ${withoutPasswords(words.join(' '))}. See --help.`,
    );
}
