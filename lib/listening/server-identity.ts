import { isReplyError } from '../connection/server-error.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import type { RedisNode } from '../topology/redis-node.js';

/** What a server is in its replication; `unknown` where it does not tell. */
export type ServerRole = 'primary' | 'replica' | 'unknown';

/** What a server says of itself. */
export interface ServerInfo {
  readonly role: ServerRole;
  /** Names this run of the server; unset where it does not tell. */
  readonly runId?: string | undefined;
}

/** The server that was listened to is not the one to listen to any more. */
export class ReplacedError extends Error {}

/** The server that is listened to does not announce expiries any more. */
export class SilencedError extends Error {}

/** Connections that are made anew in the hope that all lead to one server, before it is given up. */
const MOST_TRIES = 3;

/**
 * Sees to it that the two connections to a node, the listener's and that for commands, lead to the
 * same server: a name, a proxy or Sentinels may lead to another one after a failover, and what one
 * server is asked then says nothing of the other.
 */
export class ServerIdentity {
  #mismatches = 0;

  constructor(
    private readonly node: RedisNode,
    private readonly log: Log,
  ) {}

  async read(): Promise<ServerInfo> {
    try {
      // Two sections: all of them cost the server a hundred times as much as a key does.
      const sections = await this.node.commands.run((redis) =>
        Promise.all([redis.info('server'), redis.info('replication')]),
      );
      return readInfo(sections.join('\n'));
    } catch (error) {
      if (!isReplyError(error)) throw error;
      this.log.debug(`${this.node.address}: INFO: ${reasonOf(error)}`);
      return { role: 'unknown' };
    }
  }

  /**
   * As `read`, of the server that the listener is connected to. Rejects where the connections lead to
   * different ones; after some tries, as with a proxy that spreads connections, no more.
   */
  async readOf(listener: string | undefined): Promise<ServerInfo> {
    for (let tries = 0; ; tries++) {
      const server = await this.read();
      const { runId } = server;
      if (!runId || !listener || runId === listener) {
        this.#mismatches = 0;
        return server;
      }
      if (this.#mismatches >= MOST_TRIES) return server;
      if (tries === MOST_TRIES) {
        this.#mismatches++;
        throw new ReplacedError(
          `${this.node.address} leads to different servers`,
        );
      }
      this.node.commands.reopen('it leads to another server than the listener');
    }
  }
}

/** Reads the answer to INFO. */
export function readInfo(info: string): ServerInfo {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const role = field('role');
  const roles: Record<string, ServerRole> = {
    master: 'primary',
    slave: 'replica',
  };
  return { role: roles[role ?? ''] ?? 'unknown', runId: field('run_id') };
}
