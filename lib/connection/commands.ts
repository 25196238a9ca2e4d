import type { CommandClient } from './command-client.js';

/** What whoever sends commands has of a connection: it does not open, replace or close it. */
export type Commands = Pick<CommandClient, 'run' | 'runNow' | 'connected'>;
