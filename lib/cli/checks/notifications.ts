import type { CheckContext, DoctorNode } from '../context.js';
import { pasteable, setting } from '../context.js';
import { type Finding, checkOfEach } from '../finding.js';
import { PARAMETER, flagsFinding, lettersFor } from '../flags.js';
import { type Proof, prove } from '../proof.js';

/** Whether the server announces expiries: by its flags, and by a key of its own that runs out. */
export const notifications = checkOfEach('notifications', look);

async function look(
  node: DoctorNode,
  context: CheckContext,
): Promise<Finding[]> {
  const text = await setting(node.redis, PARAMETER);
  const proof = await prove(node, context);
  return [flagsOf(node, context, text, proof), ...heardOf(node, proof)];
}

function flagsOf(
  node: DoctorNode,
  { group }: CheckContext,
  text: string | undefined,
  proof: Proof,
): Finding {
  const base = { node: node.address };
  const events =
    typeof proof === 'object' && 'events' in proof ? proof.events : [];
  const heard = new Set(events.map(({ event }) => event));
  const letters = lettersFor(node, group);
  if (text === undefined) {
    const isHeard = heard.has('expired');
    const isOpen = typeof proof === 'string' || 'refused' in proof;
    return {
      ...base,
      level: isHeard
        ? 'ok'
        : isOpen || group !== undefined
          ? 'warning'
          : 'failure',
      saw: `CONFIG is forbidden, so the flags are not known; expiries are ${isHeard ? 'announced' : isOpen ? 'perhaps announced' : 'not announced'}`,
      ...(!isHeard && {
        why: `Ask whoever runs the server to set ${PARAMETER} to K${[...letters].join('')} (managed services: a parameter group or an instance setting).`,
        mend: pasteable(
          node,
          'CONFIG',
          'SET',
          PARAMETER,
          `K${[...letters].join('')}`,
        ),
      }),
    };
  }
  // `A` hides that `n` is on; a key that was new has shown it.
  if (heard.has('new')) letters.delete('n');
  return flagsFinding(node, text, letters);
}

function heardOf({ address }: DoctorNode, proof: Proof): Finding[] {
  const base = { node: address };
  if (proof === 'not tried')
    return [
      {
        ...base,
        level: 'skipped',
        saw: 'no key of its own was written, to hear whether it is announced',
      },
    ];
  if ('refused' in proof)
    return [
      {
        ...base,
        level: 'skipped',
        saw: `no key of its own could be tried: ${proof.refused}`,
        why: 'Nothing proves that expiries are heard. See permissions.',
      },
    ];
  const families = new Set(
    proof.events.flatMap(({ event, family }) =>
      event === 'expired' ? [family] : [],
    ),
  );
  if (families.size === 0) return [];
  return [
    {
      ...base,
      level: 'ok',
      saw: `a key of its own ran out and was heard on ${[...families].join(' and ')}, ${proof.ms.toFixed(0)} ms after it was touched`,
      figures: { heardAfterMs: proof.ms },
    },
  ];
}
