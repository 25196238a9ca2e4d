import { onTestFinished } from 'vitest';
import type { StatusReport } from '../../../lib/cli/status.js';
import type { RedisExpiryModuleOptions } from '../../../lib/index.js';
import type { TestApp } from '../app.js';
import { eventually } from '../eventually.js';
import { groupApp, handler } from '../group/app.js';
import { TestServer, type TestServerOptions } from '../servers.js';
import { type Ran, run } from './command.js';

/** A server of a test's own, which is stopped when the test is over. */
export async function ownServer(
  options?: TestServerOptions,
): Promise<TestServer> {
  const server = await new TestServer(options).start();
  onTestFinished(() => server.stop());
  return server;
}

/** Runs a command with `--json`, and reads what it printed. */
export async function json<T = Record<string, unknown>>(
  ...argv: string[]
): Promise<Ran & { readonly data: T }> {
  const ran = await run(...argv, '--json');
  return { ...ran, data: JSON.parse(ran.text) as T };
}

/** What the command says of the group `presence`. */
export const statusOf = (
  url: string,
  ...options: string[]
): Promise<Ran & { readonly data: StatusReport }> =>
  json<StatusReport>('status', url, '--group', 'presence', ...options);

/** An instance of the group `presence` whose handler throws as often as the function does. */
export function failingApp(
  server: Pick<TestServer, 'url'>,
  fail: (key: string) => void,
  options: RedisExpiryModuleOptions = {},
): Promise<TestApp> {
  return groupApp(server, [handler('k*', ({ key }) => fail(key))], {
    retry: { attempts: 1 },
    ...options,
  });
}

/** Resolves when the group has so many dead letters. */
export const untilDead = (app: TestApp, count: number): Promise<void> =>
  eventually(async () => {
    const letters = await app.subscriber.deadLetters();
    if (letters.length !== count) throw new Error(`${letters.length} letters`);
  });
