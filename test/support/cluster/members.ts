import { eventually } from '../eventually.js';
import { PATIENCE_MS } from '../patience.js';
import type { TestServer } from '../servers.js';
import {
  type NodeView,
  type View,
  owns,
  pictureOf,
  reportOf,
  viewOf,
} from './view.js';

/** For the slowest thing a Cluster does, on a machine that has other things to do. */
const PATIENCE = { timeout: PATIENCE_MS, interval: 20 };

/** The servers that are to know one another, by the ids that they have in the Cluster. */
export class Members {
  readonly #servers = new Map<string, TestServer>();

  /** Those that crashed included. */
  get servers(): TestServer[] {
    return [...this.#servers.values()];
  }

  get ids(): string[] {
    return [...this.#servers.keys()];
  }

  live(except?: TestServer): TestServer[] {
    return this.servers.filter((s) => s.process.running && s !== except);
  }

  async add(server: TestServer): Promise<void> {
    this.#servers.set(String(await server.redis.cluster('MYID')), server);
  }

  remove(server: TestServer): void {
    this.#servers.delete(this.idOf(server));
  }

  idOf(server: TestServer): string {
    for (const [id, member] of this.#servers) if (member === server) return id;
    throw new Error(`${server.address} is not in the Cluster.`);
  }

  /** By the node that answers first: one that hangs does not hold it up. */
  view(except?: TestServer): Promise<View> {
    return Promise.any(this.live(except).map(viewOf));
  }

  /** The live servers that the Cluster says this of. */
  async which(
    condition: (node: NodeView, id: string) => boolean,
    except?: TestServer,
  ): Promise<TestServer[]> {
    const view = await this.view(except);
    return this.live(except).filter((server) => {
      const id = this.idOf(server);
      const node = view.get(id);
      return node !== undefined && condition(node, id);
    });
  }

  async ownerOf(slot: number): Promise<TestServer> {
    const view = await this.view();
    const id = this.ids.find((each) => owns(view, each, [slot]));
    if (id === undefined) throw new Error(`Nobody has slot ${slot}.`);
    return this.#servers.get(id)!;
  }

  /**
   * Resolves when every live node says the same of all live nodes, knows no others, and can serve;
   * when replicas have caught up; and when what they agree on is as it should be.
   */
  agree(
    isDone: (view: View) => boolean = () => true,
    { except, ...patience }: { except?: TestServer; timeout?: number } = {},
  ): Promise<View> {
    return eventually(
      async () => {
        const view = await this.#agreed(except);
        if (!isDone(view))
          throw new Error(`They agree on what was:\n${this.#show(view)}`);
        return view;
      },
      { ...PATIENCE, ...patience },
    );
  }

  async #agreed(except?: TestServer): Promise<View> {
    const live = this.live(except);
    const liveIds = live.map((server) => this.idOf(server));
    const reports = await Promise.all(live.map(reportOf));
    const pictures = new Set<string>();
    for (const [i, { view, ok, inSync }] of reports.entries()) {
      const complain = (what: string): never => {
        throw new Error(`${live[i]!.address} ${what}:\n${this.#show(view)}`);
      };
      if ([...view.keys()].toSorted().join() !== this.ids.toSorted().join())
        complain('does not know exactly the others');
      if (!liveIds.every((id) => view.get(id)!.well))
        complain('does not see all well');
      if (!ok) complain('cannot serve');
      if (!inSync) complain('is not in sync with its primary');
      pictures.add(pictureOf(view, liveIds));
    }
    if (pictures.size > 1)
      throw new Error(`The nodes do not agree:\n${[...pictures].join('\n\n')}`);
    return reports[0]!.view;
  }

  #show(view: View): string {
    return [...view]
      .map(([id, { role, primaryId, well, slots }]) =>
        [
          this.#servers.get(id)?.address ?? 'a stranger',
          id,
          role,
          primaryId,
          well ? 'well' : 'not well',
          slots.map((range) => range.join('-')).join(' '),
        ].join(' '),
      )
      .join('\n');
  }
}
