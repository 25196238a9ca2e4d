import type { CommandClient } from './command-client.js';

/** A `CommandClient` for those who only send commands: they do not open, replace or close the connection. */
export type Commands = Pick<CommandClient, 'run' | 'runNow' | 'connected'>;
