import type { Commands } from '../connection/commands.js';
import type { DeadlineDiscovery } from '../deadlines/discovery.js';
import type { TtlReader } from '../deadlines/ttl-reader.js';
import { Redirector } from './redirector.js';
import type { Evidence } from './evidence.js';
import { Judge } from './judge.js';
import type { RecheckQueue } from './recheck-queue.js';
import { Sweep } from './sweep.js';
import { Verdicts } from './verdicts.js';
import type { GroupNode, GroupNodeParts } from './group-node.js';

/** What one node has of its own. */
export interface OwnParts {
  /** To the node, as long as the term lasts. */
  readonly commands: Commands;
  readonly reader: TtlReader;
  readonly evidence: Evidence;
  readonly suspects: RecheckQueue;
  readonly learner: DeadlineDiscovery;
}

/** The judge of one node: puts together what it goes by, and what is to be done with what it finds. */
export function newJudge(
  watched: GroupNode,
  { commands, reader, evidence, suspects, learner }: OwnParts,
  parts: GroupNodeParts,
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
    elsewhere: new Redirector(watched, reader, parts.redirect),
  });
}
