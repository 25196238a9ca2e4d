import { CliError } from '../cli-error.js';
import type { CheckContext } from '../context.js';
import { duration } from '../duration.js';
import type { Check, Finding } from '../finding.js';
import { GroupSession } from '../group-session.js';
import { groupTroubles } from '../group-troubles.js';
import { counted } from '../output.js';

/** How the group is doing, where there is one by now. */
export const group: Check = {
  area: 'group',
  run: async (context) => {
    if (context.group === undefined)
      return [skipped('give --group to look at a group')];
    try {
      return await look(context.group, context);
    } catch (error) {
      if (error instanceof CliError) return [skipped(error.message)];
      throw error;
    }
  },
};

async function look(
  name: string,
  { url, args }: CheckContext,
): Promise<Finding[]> {
  const session = await GroupSession.open(url, name, args);
  try {
    if (!(await session.ask((view) => view.exists())))
      return [
        skipped(
          `there is no group ${JSON.stringify(name)} yet: its first instance makes it`,
        ),
      ];
    const viewed = await session.ask((view) => view.look());
    const { total, partitions, instances } = viewed;
    const living = instances.filter(({ state }) => state === 'living').length;
    const lag = Math.max(0, ...partitions.map((partition) => partition.lag));
    return [
      {
        level: 'ok',
        saw:
          `${counted(living, 'instance')}, ${counted(partitions.length, 'partition')} of which ${total.leaders} have a leader; ` +
          `${counted(total.tracked, 'key')}, deadlines overdue by at most ${duration(lag)}; ` +
          `events: ${total.waiting} waiting, ${total.pending} pending, ${total.retrying} to be tried again`,
        figures: {
          ...{ instances: living, partitions: partitions.length, lagMs: lag },
          ...total,
        },
      },
      ...groupTroubles(viewed).map((saw): Finding => ({
        level: 'warning',
        saw,
        why: 'See the command status, and docs/12-operating.md.',
      })),
    ];
  } finally {
    session.close();
  }
}

const skipped = (saw: string): Finding => ({ level: 'skipped', saw });
