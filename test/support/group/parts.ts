import { onTestFinished } from 'vitest';
import { CommandClient } from '../../../lib/connection/command-client.js';
import { ownClientOptions } from '../../../lib/connection/client-options.js';
import { EventStream } from '../../../lib/group/event-stream.js';
import {
  type GroupKeys,
  groupKeys,
  homeKeys,
} from '../../../lib/group/group-keys.js';
import { RedisIndex } from '../../../lib/group/redis-index.js';
import type { Log } from '../../../lib/util/log.js';
import type { TestServer } from '../servers.js';

/** A log that is not kept. */
export const noLog: Log = {
  log: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
};

/** A connection for commands as the library makes it; by a proxy's port, if one is given. */
export const commandsOn = (
  server: TestServer,
  port = server.port,
): CommandClient =>
  new CommandClient({
    open: () => server.client({ ...ownClientOptions('test'), port }),
    connectTimeout: 5_000,
    retryDelay: () => 50,
    log: noLog,
  });

export const KEYS = groupKeys('rx:', 'g');
export const HOME_KEYS = homeKeys('rx:', 'g');

/** An index that holds the lease. */
export async function indexOn(
  server: TestServer,
  keys: GroupKeys = KEYS,
): Promise<{ index: RedisIndex; keys: GroupKeys; close: () => void }> {
  const commands = commandsOn(server);
  const index = new RedisIndex(commands, keys);
  await server.redis.set(keys.lease, 'token');
  return { index, keys, close: () => commands.close() };
}

/** The events of a group as one consumer of it sees them; closed when the test is over. */
export async function streamOn(
  server: TestServer,
  consumer: string,
): Promise<EventStream> {
  const [commands, reader] = [commandsOn(server), commandsOn(server)];
  onTestFinished(() => {
    commands.close();
    reader.close();
  });
  const partition = { commands, reader, keys: KEYS };
  const stream = new EventStream(partition, 'g', consumer);
  await stream.create();
  return stream;
}
