import type { TtlReader } from '../deadlines/ttl-reader.js';
import type { ClusterNode, Whereabouts } from './node-term.js';

/** Keys of a Cluster that one node was asked for and another one serves: only that one knows what was heard of them. */
export class Redirector {
  constructor(
    /** The node that was asked. */
    private readonly asked: ClusterNode,
    private readonly reader: Pick<TtlReader, 'whereabouts'>,
    /** The node that an answer names; undefined where none is known. */
    private readonly redirect: (answer: Error) => Whereabouts | undefined,
  ) {}

  /** Has keys judged by those that serve them. `hops`: nodes that did not, so far. Rejects where that cannot be done now. */
  async judge(keys: readonly Buffer[], hops: number): Promise<void> {
    const found = await Promise.all(keys.map((key) => this.#locate(key)));
    const parts = new Map<string, { there: Whereabouts; keys: Buffer[] }>();
    for (const [i, there] of found.entries()) {
      const name = `${there.node.node.address} ${there.asking}`;
      const part = parts.get(name);
      if (part) part.keys.push(keys[i]!);
      else parts.set(name, { there, keys: [keys[i]!] });
    }
    for (const part of parts.values())
      await part.there.node.take(part.keys, part.there.asking, hops + 1);
  }

  /** Whether a key lives where it is served. */
  async lives(key: Buffer): Promise<boolean> {
    const { node, asking } = await this.#locate(key);
    return (await node.timeToLive(key, asking)) >= -1;
  }

  async #locate(key: Buffer): Promise<Whereabouts> {
    const answer = await this.reader.whereabouts(key);
    if (!answer) return { node: this.asked, asking: false };
    const there = this.redirect(answer);
    if (!there) throw answer;
    return there;
  }
}
