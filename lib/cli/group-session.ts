import type { Redis } from 'ioredis';
import {
  type ConnectionForm,
  readConnectionForm,
} from '../connection/connection-option.js';
import { isDenied, isReadOnly } from '../connection/server-error.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import { GroupView } from '../group/group-view.js';
import { ClusterTopology } from '../topology/cluster-topology.js';
import { StandaloneTopology } from '../topology/standalone-topology.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { CliError } from './cli-error.js';
import { cannotAsk } from './connecting.js';
import { type LocateOptions, type Located, locate } from './locate.js';
import { addressOf, databaseOf } from './url.js';

const NAME = 'nestjs-redis-expiry-cli';
/** Ms within which a question must be answered. */
const PATIENCE_MS = 10_000;

/** What says where the group is. */
export interface GroupArguments extends LocateOptions {
  readonly namespace: string;
  readonly keyPrefix: string;
}

/** What goes wrong ends the command, and is told by its error. */
const SILENT: Log = {
  log: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
};

/**
 * A group, asked from the command line: by the library's own classes, which find its partitions wherever they are.
 *
 * States: open (once `open` has resolved) → closed, by `close`, or by a question that nobody answers in time.
 *
 * Guarantees: every question ends within ten seconds; what goes wrong is a `CliError`.
 */
export class GroupSession {
  #isLate = false;

  private constructor(
    private readonly url: string,
    private readonly group: string,
    private readonly topology: Topology,
    private readonly view: GroupView,
  ) {}

  /** Connects. Throws a `CliError` where nobody answers. */
  static async open(
    url: string,
    group: string,
    args: GroupArguments,
  ): Promise<GroupSession> {
    const located = await locate(url, args);
    located.node.redis.disconnect();
    refuseReplica(located);
    const { keyPrefix, namespace } = args;
    const target = readConnectionForm(formOf(located, keyPrefix));
    const topology = target.isCluster
      ? new ClusterTopology(target, NAME, SILENT)
      : new StandaloneTopology(target, NAME, SILENT);
    const options = { target, ownPrefix: `${keyPrefix}${namespace}:` };
    const view = new GroupView(group, options, topology, SILENT);
    const session = new GroupSession(url, group, topology, view);
    try {
      await session.ask(() => view.open());
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** Works with a group that exists, and closes the session. Throws a `CliError` where there is no such group, too. */
  static async use<T>(
    url: string,
    group: string,
    args: GroupArguments,
    work: (session: GroupSession) => Promise<T>,
  ): Promise<T> {
    const session = await GroupSession.open(url, group, args);
    try {
      if (!(await session.ask((view) => view.exists())))
        throw noGroup(url, group, args);
      return await work(session);
    } finally {
      session.close();
    }
  }

  /** Does something with the group. Rejects with a `CliError` where that fails, or nobody answers in time. */
  async ask<T>(work: (view: GroupView) => Promise<T>): Promise<T> {
    let reason: string | undefined;
    const timer = setTimeout(() => {
      reason = this.view.lastError;
      this.#isLate = true;
      // Whatever is under way rejects.
      this.close();
    }, PATIENCE_MS);
    try {
      return await work(this.view);
    } catch (error) {
      throw this.#explained(error, reason);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.view.close();
    this.topology.close();
  }

  #explained(error: unknown, reason: string | undefined): unknown {
    const { url, group } = this;
    if (this.#isLate)
      return cannotAsk(url, reason ?? `no answer within ${PATIENCE_MS} ms`);
    if (isDenied(error))
      return new CliError(
        `${addressOf(url)} does not let this user do that with group ${JSON.stringify(group)}: ${reasonOf(error)}. ` +
          'docs/07-redis-settings-and-acl.md lists the rights that a group needs.',
      );
    if (isReadOnly(error))
      return new CliError(
        `${addressOf(url)} takes no writes: it is a replica.`,
      );
    if (error instanceof RedisExpiryError) return new CliError(error.message);
    // A mistake of this package is no server that gives no answer.
    const isMistake = error instanceof TypeError || error instanceof RangeError;
    return isMistake ? error : cannotAsk(url, error);
  }
}

function noGroup(
  url: string,
  group: string,
  { namespace, keyPrefix }: GroupArguments,
): CliError {
  const place = [
    `database ${databaseOf(url)} of ${addressOf(url)}`,
    `namespace ${JSON.stringify(namespace)}`,
    ...(keyPrefix === '' ? [] : [`key prefix ${JSON.stringify(keyPrefix)}`]),
  ].join(', ');
  return new CliError(
    `There is no group ${JSON.stringify(group)} in ${place}. A group is there once an instance of it was started. ` +
      'If your module has them, give its options by --namespace and --key-prefix, and its database by the URL.',
  );
}

/** A replica has what the primary had some time ago, and takes no writes. */
function refuseReplica({ node: { address, info }, isCluster }: Located): void {
  if (isCluster || info.get('role') !== 'slave') return;
  throw new CliError(
    `${address} is a replica of ${info.get('master_host')}:${info.get('master_port')}; give the URL of that one.`,
  );
}

/** Where Redis is, as the module's option `connection` would say it. */
function formOf(
  { node, isCluster }: Located,
  keyPrefix: string,
): ConnectionForm {
  const url = new URL(node.url);
  if (!isCluster) {
    if (keyPrefix !== '') url.searchParams.set('keyPrefix', keyPrefix);
    return url.href;
  }
  const { host, port, username, password, tls } = (node.redis as Redis).options;
  return {
    nodes: [{ host: host!, port: port! }],
    options: { keyPrefix, redisOptions: { username, password, tls } },
  };
}
