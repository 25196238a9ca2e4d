/** How a call of a handler ended: what it threw, or else what came of what it returned. */
export type CallEnd =
  { readonly thrown: unknown } | { readonly result: unknown };
