import type { Commands } from '../connection/commands.js';
import type { Learner } from '../deadlines/learner.js';
import type { TtlReader } from '../deadlines/ttl-reader.js';
import { Elsewhere } from './elsewhere.js';
import type { Evidence } from './evidence.js';
import { Judge } from './judge.js';
import type { Suspects } from './suspects.js';
import { Sweep } from './sweep.js';
import { Verdicts } from './verdicts.js';
import type { WatchedNode, WatchedNodeParts } from './watched-node.js';

/** What one node has of its own. */
export interface OwnParts {
  /** To the node, as long as the term lasts. */
  readonly commands: Commands;
  readonly reader: TtlReader;
  readonly evidence: Evidence;
  readonly suspects: Suspects;
  readonly learner: Learner;
}

/** The judge of one node: puts together what it goes by, and what is to be done with what it finds. */
export function newJudge(
  watched: WatchedNode,
  { commands, reader, evidence, suspects, learner }: OwnParts,
  parts: WatchedNodeParts,
): Judge {
  const { index, settling, clock, registry, counters, cluster } = parts;
  const { node, gaps } = watched;
  const shared = {
    ...{ index, evidence, counters, gaps },
    isSilent: () => watched.isSilent,
    wanted: (key: Buffer) => registry.matches(key),
    barrier: () => parts.barrier(node),
    onSettled: (keys: string[]) => suspects.settled(keys),
    onLater: parts.onLater,
  };
  return new Judge({
    ...{ ...shared, settling, reader },
    verdicts: new Verdicts({ ...shared, previewed: parts.previewed }),
    sweep: cluster ? undefined : new Sweep({ ...shared, commands, clock }),
    relearn: (keys) => {
      for (const key of keys) learner.changed(key);
    },
    onRefused: (keys) => {
      for (const key of keys) suspects.expired(key);
    },
    elsewhere: new Elsewhere(watched, reader, parts.redirect),
  });
}
