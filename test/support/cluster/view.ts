import type { TestServer } from '../servers.js';
import type { SlotRange } from './slots.js';

/** What a node says of one node. */
export interface NodeView {
  readonly role: 'primary' | 'replica';
  /** Of a replica: whose. */
  readonly primaryId: string | undefined;
  /** Not suspected of anything, and linked over the nodes' own port. */
  readonly well: boolean;
  readonly slots: readonly SlotRange[];
}

/** What a node says of all nodes that it knows, itself included, by their ids. */
export type View = ReadonlyMap<string, NodeView>;

export interface Report {
  readonly view: View;
  /** It says that the Cluster is able to serve. */
  readonly ok: boolean;
  /** Of a replica: it has what its primary had, and follows. True for a primary. */
  readonly inSync: boolean;
}

export async function reportOf({ redis }: TestServer): Promise<Report> {
  const replies = await redis
    .pipeline()
    .cluster('NODES' as 'INFO')
    .cluster('INFO')
    .info('replication')
    .exec();
  const [nodes, state, replication] = replies!.map(([error, text]) => {
    if (error) throw error;
    return String(text);
  }) as [string, string, string];
  return {
    view: parse(nodes),
    ok: state.includes('cluster_state:ok'),
    inSync:
      replication.includes('role:master') ||
      replication.includes('master_link_status:up'),
  };
}

export async function viewOf(server: TestServer): Promise<View> {
  return parse(String(await server.redis.call('CLUSTER', 'NODES')));
}

/** The same text for views that say the same of these nodes. */
export function pictureOf(view: View, ids: readonly string[]): string {
  return ids
    .toSorted()
    .map((id) => {
      const { role, primaryId, slots } = view.get(id)!;
      return `${id} ${role} ${primaryId ?? '-'} ${slots.join(' ')}`;
    })
    .join('\n');
}

/** Whether the node has all these slots. */
export function owns(
  view: View,
  id: string,
  slots: readonly number[],
): boolean {
  const ranges = view.get(id)?.slots ?? [];
  return slots.every((slot) =>
    ranges.some(([first, last]) => first <= slot && slot <= last),
  );
}

function parse(text: string): View {
  return new Map(
    text
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [id, , flagList, primaryId, , , , link, ...slots] =
          line.split(' ');
        const flags = flagList!.split(',');
        const isReplica = flags.includes('slave');
        const suspect = ['fail', 'fail?', 'handshake', 'noaddr'];
        const node: NodeView = {
          role: isReplica ? 'replica' : 'primary',
          primaryId: isReplica ? primaryId : undefined,
          well:
            !suspect.some((flag) => flags.includes(flag)) &&
            (link === 'connected' || flags.includes('myself')),
          // `[7->-id]` is a slot on its way: it still belongs to whom it belonged.
          slots: slots.filter((slot) => !slot.startsWith('[')).map(rangeOf),
        };
        return [id!, node];
      }),
  );
}

function rangeOf(text: string): SlotRange {
  const [first, last] = text.split('-').map(Number) as [number, number?];
  return [first, last ?? first];
}
