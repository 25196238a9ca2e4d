import { withoutPasswords } from '../errors/redis-expiry.error.js';
import { CliError, notAccepted } from './cli-error.js';

const ACCEPTED =
  'redis://[user:password@]host:port[/database], rediss://… or unix:///path';

/**
 * Checks a URL, whose password no message shows. Where it has none, that of REDISCLI_AUTH is taken, as
 * redis-cli does.
 */
export function readUrl(
  text: string | undefined,
  env: NodeJS.ProcessEnv,
): string {
  if (text === undefined)
    throw new CliError(`The URL is missing; accepted: ${ACCEPTED}.`);
  const refuse = (): never => {
    throw notAccepted('The URL', withoutPasswords(text), ACCEPTED);
  };
  if (!/^(rediss?|unix):\/\//.test(text) || !URL.canParse(text)) refuse();
  const url = new URL(text);
  const isSocket = url.protocol === 'unix:';
  if (isSocket ? url.pathname.length < 2 : !/^\/?\d*$/.test(url.pathname))
    refuse();
  if (url.searchParams.has('keyPrefix'))
    throw new CliError(
      'The URL has a keyPrefix; give it by the option --key-prefix.',
    );
  const password = env['REDISCLI_AUTH'];
  if (!isSocket && url.password === '' && password) url.password = password;
  return url.href;
}

/** An address that may be shown: without a user and a password. */
export function addressOf(url: string): string {
  const { protocol, host, hostname, port, pathname } = new URL(url);
  if (protocol === 'unix:') return pathname;
  return port === '' ? `${hostname}:6379` : host;
}

/** The number of the database that a URL names. */
export const databaseOf = (url: string): number => {
  const { protocol, pathname, searchParams } = new URL(url);
  const named = protocol === 'unix:' ? searchParams.get('db') : pathname;
  return Number((named ?? '').replace('/', ''));
};

/** The URL of another server, with the same credentials. */
export function urlAt(url: string, host: string, port: number): string {
  const other = new URL(url);
  other.hostname = host.includes(':') ? `[${host}]` : host;
  other.port = String(port);
  return other.href;
}
