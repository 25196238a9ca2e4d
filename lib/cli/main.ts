import { reasonOf, withoutPasswords } from '../errors/redis-expiry.error.js';
import { type Arguments, readArguments, readUrl } from './arguments.js';
import { CliError, notAccepted } from './cli-error.js';
import { doctor } from './doctor.js';
import { Output, type Sink } from './output.js';
import { USAGE } from './usage.js';
import { packageVersion } from './version.js';

/** Runs a command line. Resolves with the exit code, and writes everything that it has to say to the sink. */
export async function main(
  argv: readonly string[],
  sink: Sink,
): Promise<number> {
  const output = new Output(sink);
  try {
    return await run(readArguments(argv), output);
  } catch (error) {
    const message =
      error instanceof CliError
        ? error.message
        : `It failed: ${withoutPasswords(reasonOf(error))}`;
    if (argv.includes('--json')) output.json({ error: message });
    else output.line(message);
    return 2;
  }
}

async function run(args: Arguments, output: Output): Promise<number> {
  if (args.version) {
    output.line(packageVersion());
    return 0;
  }
  const [command, ...words] = args.words;
  if (args.help || command === undefined) {
    output.line(USAGE.trimEnd());
    return args.help ? 0 : 2;
  }
  switch (command) {
    case 'doctor':
      return doctor(readUrl(only(words)), args, output);
    default:
      throw notAccepted('The command', command, 'doctor');
  }
}

/** The one word that follows a command. */
function only(words: readonly string[]): string | undefined {
  if (words.length > 1)
    throw new CliError(
      `There are words too many: ${withoutPasswords(words.slice(1).join(' '))}. See --help.`,
    );
  return words[0];
}
