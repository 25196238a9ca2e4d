/**
 * Nodes that closed and are remembered: whoever takes over their keys inherits the times in which
 * nobody listened. A failover hands them on within seconds, in which no Cluster loses as many nodes.
 */
const MOST_CLOSED = 64;

/**
 * The nodes that a leader watches or watched, by their addresses. Of those that closed it keeps the
 * last ones, so that it stays small however often nodes come and go.
 */
export class NodesByAddress<T extends { readonly closed: boolean }> extends Map<
  string,
  T
> {
  /** Those that closed, the first of them first. */
  readonly #closed = new Set<T>();

  override set(address: string, node: T): this {
    super.set(address, node);
    this.#forgetOldest();
    return this;
  }

  #forgetOldest(): void {
    for (const node of this.values()) if (node.closed) this.#closed.add(node);
    const present = new Set(this.values());
    for (const node of this.#closed)
      // Another node took its address, and its knowledge.
      if (!present.has(node)) this.#closed.delete(node);
    const old = new Set(
      [...this.#closed].slice(0, Math.max(0, this.#closed.size - MOST_CLOSED)),
    );
    for (const [address, node] of this)
      if (old.has(node)) {
        this.delete(address);
        this.#closed.delete(node);
      }
  }
}
