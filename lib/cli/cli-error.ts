/** What ends a command before it could do its work: wrong words on the command line, or a server that cannot be asked. Exit code 2. */
export class CliError extends Error {
  override readonly name = 'CliError';
}

/** The error for an option or a word that is not accepted. */
export const notAccepted = (
  what: string,
  value: string,
  accepted: string,
): CliError =>
  new CliError(`${what} is ${JSON.stringify(value)}; accepted: ${accepted}.`);
