import type { CheckContext, DoctorNode } from './context.js';

/** What a check looks at. */
export type Area =
  | 'server'
  | 'topology'
  | 'notifications'
  | 'permissions'
  | 'lateness'
  | 'data safety'
  | 'pub/sub'
  | 'keys'
  | 'group';

/** How much something matters: `failure` will not work, and `skipped` could not be, or was not to be, looked at. */
export type Level = 'ok' | 'warning' | 'failure' | 'skipped';

/** One thing that a check found. */
export interface Finding {
  readonly level: Level;
  /** The server that it was found on. */
  readonly node?: string;
  /** What was seen. */
  readonly saw: string;
  /** Why it matters for expiries. */
  readonly why?: string;
  /** The command that mends it, to paste into a shell. */
  readonly mend?: string;
  /** What was measured or read, for programs. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** Looks at one area. Rejects only where the server gives no answer. */
export interface Check {
  readonly area: Area;
  run(context: CheckContext): Promise<Finding[]>;
}

/** A check that looks at each server by itself. */
export const checkOfEach = (
  area: Area,
  look: (node: DoctorNode, context: CheckContext) => Promise<Finding[]>,
): Check => ({
  area,
  run: async (context) => {
    const found = context.nodes.map((node) => look(node, context));
    return (await Promise.all(found)).flat();
  },
});

/** What `doctor --json` prints. */
export interface DoctorReport {
  /** The version of this package. */
  readonly version: string;
  /** ISO 8601. */
  readonly at: string;
  /** The address that was given, without credentials. */
  readonly address: string;
  readonly database: number;
  readonly patterns: readonly string[];
  readonly group?: string;
  /** The worst of all findings. */
  readonly verdict: 'fine' | 'warnings' | 'failures';
  readonly areas: readonly {
    readonly area: Area;
    readonly findings: readonly Finding[];
  }[];
}
