import type { NatMap } from 'ioredis';
import { SLOTS } from './hash-slot.js';

/** Who is who in a Cluster, as one of its nodes sees it. Addresses are `host:port`, as this process reaches them. */
export interface ClusterView {
  /** The primary that serves each slot; undefined where none does. */
  readonly owners: readonly (string | undefined)[];
  /** Primaries that the node believes to be well. Those without slots are among them, because keys may be on their way to them. */
  readonly primaries: ReadonlySet<string>;
  readonly replicas: ReadonlySet<string>;
  /** Nodes that the other nodes cannot reach. */
  readonly failed: ReadonlySet<string>;
  /** The configuration epoch of each primary, where it is known: of two claims to a slot the one with the higher epoch is newer. */
  readonly epochs: ReadonlyMap<string, number>;
}

/** What `CLUSTER SLOTS` answers for each range: from, to, and the nodes that serve it, the primary first. */
export type SlotRange = [
  from: number,
  to: number,
  ...nodes: [host: string | null, port: number, id?: string, ...unknown[]][],
];

export const NO_VIEW: ClusterView = {
  owners: [],
  primaries: new Set(),
  replicas: new Set(),
  failed: new Set(),
  epochs: new Map(),
};

/**
 * Reads a node's answers to `CLUSTER SLOTS`, which names nodes as clients are to reach them, and to
 * `CLUSTER NODES`, which knows those without slots too; that may be empty where it is forbidden.
 *
 * @param asked the host that was asked: a node that does not know its own address is there
 */
export function readView(
  ranges: readonly SlotRange[],
  nodes: string,
  asked: string,
  natMap: NatMap | undefined,
): ClusterView {
  const owners: (string | undefined)[] = Array.from({ length: SLOTS });
  const primaries = new Set<string>();
  const replicas = new Set<string>();
  const failed = new Set<string>();
  const epochs = new Map<string, number>();
  /** By the identifiers that the nodes give themselves. */
  const known = new Map<string, string>();
  const addressOf = (host: string | null, port: number): string =>
    mapped(`${host && host !== '?' ? host : asked}:${port}`, natMap);
  for (const [from, to, ...serving] of ranges) {
    serving.forEach(([host, port, id], i) => {
      const address = addressOf(host, port);
      if (id !== undefined) known.set(id, address);
      (i === 0 ? primaries : replicas).add(address);
      if (i === 0) owners.fill(address, from, to + 1);
    });
  }
  const members = nodes.split('\n').flatMap((line) => memberOf(line) ?? []);
  // Clients are to use the names where those that serve slots are called by theirs.
  const byName = members.some(
    ({ id, name, port }) => name && known.get(id) === addressOf(name, port),
  );
  for (const { id, host, name, port, flags, epoch } of members) {
    const address =
      known.get(id) ?? addressOf(byName && name ? name : host, port);
    // `fail?` is what this node alone believes.
    if (flags.includes('fail')) failed.add(address);
    else if (flags.includes('master')) primaries.add(address);
    else if (flags.includes('slave')) replicas.add(address);
    if (flags.includes('master')) epochs.set(address, epoch);
  }
  return { owners, primaries, replicas, failed, epochs };
}

interface Member {
  readonly id: string;
  readonly host: string;
  /** Its host's name; empty where it has none. */
  readonly name: string;
  readonly port: number;
  readonly flags: readonly string[];
  readonly epoch: number;
}

/** Reads a line of `CLUSTER NODES`; undefined for a node that does not belong to the Cluster yet, or has no address. */
function memberOf(line: string): Member | undefined {
  const [id, endpoint, flags = '', , , , epoch] = line.split(' ');
  const at = /^(.*):(\d+)@\d+(?:,([^,]*))?/.exec(endpoint ?? '');
  if (!id || !at || /handshake|noaddr/.test(flags)) return undefined;
  const [, host = '', port, name = ''] = at;
  return {
    ...{ id, host, name, port: Number(port) },
    ...{ flags: flags.split(','), epoch: Number(epoch) },
  };
}

/** Whether a view says of some slot what a view before had already overtaken, by the configuration epochs. */
export function isOutdated(view: ClusterView, known: ClusterView): boolean {
  return view.owners.some((owner, slot) => {
    const before = known.owners[slot];
    if (owner === undefined || before === undefined || owner === before)
      return false;
    const [now, then] = [view.epochs.get(owner), known.epochs.get(before)];
    return now !== undefined && then !== undefined && now < then;
  });
}

/** Whose slots became whose, by address: to → from. Slots that nobody served before say nothing. */
export function movesBetween(
  before: ClusterView,
  after: ClusterView,
): Map<string, Set<string>> {
  const moves = new Map<string, Set<string>>();
  after.owners.forEach((to, slot) => {
    const from = before.owners[slot];
    if (to === undefined || from === undefined || from === to) return;
    moves.set(to, (moves.get(to) ?? new Set()).add(from));
  });
  return moves;
}

/** The address under which this process reaches what a node calls `host:port`. */
export function mapped(address: string, natMap: NatMap | undefined): string {
  const to = typeof natMap === 'function' ? natMap(address) : natMap?.[address];
  return to ? `${to.host}:${to.port}` : address;
}

/** An address, taken apart; the host may be an IPv6 address. */
export function hostAndPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return {
    host: address.slice(0, colon),
    port: Number(address.slice(colon + 1)),
  };
}
