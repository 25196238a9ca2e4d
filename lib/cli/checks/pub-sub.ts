import type { CheckContext, DoctorNode } from '../context.js';
import { pasteable, setting } from '../context.js';
import { eventRate } from '../event-rate.js';
import { type Finding, checkOfEach } from '../finding.js';

const MB = 1_024 * 1_024;
/** What Redis gives a subscriber by default. */
const DEFAULT_HARD = 32 * MB;
/** About what one process can hear in a second. */
const MOST_EVENTS = 400_000;

/** Whether Redis cuts off who listens: what it lets wait for a subscriber, and whom it closes. */
export const pubSub = checkOfEach('pub/sub', look);

async function look(
  node: DoctorNode,
  context: CheckContext,
): Promise<Finding[]> {
  const { redis, info, address } = node;
  const findings: Finding[] = [];
  const limits = await setting(redis, 'client-output-buffer-limit');
  const [, hard, soft, seconds] =
    /pubsub (\d+) (\d+) (\d+)/.exec(limits ?? '') ?? [];
  if (hard === undefined)
    findings.push({
      level: 'skipped',
      node: address,
      saw: 'the output buffer of subscribers is not known: CONFIG is forbidden',
    });
  else {
    const isSmall = Number(hard) > 0 && Number(hard) < DEFAULT_HARD;
    findings.push({
      level: isSmall ? 'warning' : 'ok',
      node: address,
      saw: `a subscriber may be ${Number(hard) / MB} MB behind, or ${Number(soft) / MB} MB for ${seconds} s`,
      ...(isSmall && {
        why: 'A burst of expiries beyond that closes the connection: a gap, which broadcast reports and a group recovers from.',
        mend: pasteable(
          node,
          ...['CONFIG', 'SET', 'client-output-buffer-limit'],
          'pubsub 33554432 8388608 60',
        ),
      }),
      figures: { hard: Number(hard), soft: Number(soft) },
    });
  }
  const cut = Number(
    info.get('client_output_buffer_limit_disconnections') ?? 0,
  );
  if (cut > 0)
    findings.push({
      level: 'warning',
      node: address,
      saw: `${cut} clients were cut off as they did not read in time`,
      why: 'If they were instances of yours, look for handlers that block the event loop.',
      figures: { disconnections: cut },
    });
  const timeout = Number((await setting(redis, 'timeout')) ?? 0);
  if (timeout > 0 && timeout < 5)
    findings.push({
      level: 'warning',
      node: address,
      saw: `clients that are idle for ${timeout} s are closed`,
      why: 'The module pings every two seconds; a limit that is as short closes connections that work.',
      mend: pasteable(node, 'CONFIG', 'SET', 'timeout', '0'),
    });
  return [...findings, ...(await rateOf(node, context))];
}

/** How many events of keys that match one process would have to hear. */
async function rateOf(
  node: DoctorNode,
  context: CheckContext,
): Promise<Finding[]> {
  if (context.patterns.length === 0) return [];
  const rates = await eventRate(node, context);
  if (!rates || rates.size === 0) return [];
  const sorted = [...rates].toSorted(([, a], [, b]) => b - a);
  const total = sorted.reduce((sum, [, rate]) => sum + rate, 0);
  const most = sorted.slice(0, 4).map(([event, rate]) => `${rate} ${event}`);
  const isMuch = total > MOST_EVENTS / 2;
  return [
    {
      level: isMuch ? 'warning' : 'ok',
      node: node.address,
      saw: `${total} events a second of keys that match: ${most.join(', ')}`,
      ...(isMuch && {
        why: `One process hears about ${MOST_EVENTS} events a second. A group need not hear renewals: see its option renewals.`,
      }),
      figures: { eventsPerSecond: total },
    },
  ];
}
