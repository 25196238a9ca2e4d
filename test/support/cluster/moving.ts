import type { Redis } from 'ioredis';
import type { TestServer } from '../servers.js';
import type { Members } from './members.js';
import { type SlotRange, slotsOf } from './slots.js';
import { owns } from './view.js';

export interface MoveOptions {
  /** How many keys go at once. */
  batch?: number;
  /** Awaited before each batch, and before the slot changes hands: it is on its way all the while. */
  pauseBetween?: () => unknown;
}

/** How many slots are on their way at the same time: one after the other would take a minute. */
const AT_ONCE = 512;

/** Slots that belong to one primary become another's, with their keys. */
export async function moveSlots(
  members: Members,
  slots: readonly number[],
  to: TestServer,
  options: MoveOptions,
): Promise<void> {
  const lanes = new Lanes(Math.min(slots.length, 64));
  try {
    for (let i = 0; i < slots.length; i += AT_ONCE) {
      const some = slots.slice(i, i + AT_ONCE);
      await moveSome(members, some, to, lanes, options);
    }
  } finally {
    lanes.close();
  }
  const id = members.idOf(to);
  await members.agree((view) => owns(view, id, slots));
}

async function moveSome(
  members: Members,
  slots: readonly number[],
  to: TestServer,
  lanes: Lanes,
  options: MoveOptions,
): Promise<void> {
  const from = await members.ownerOf(slots[0]!);
  if (from === to) return;
  const [fromId, toId] = [members.idOf(from), members.idOf(to)];
  // This order, and that at the end: there is always one who serves the slot.
  await lanes.set(to, slots, 'IMPORTING', fromId);
  await lanes.set(from, slots, 'MIGRATING', toId);
  for (const slot of slots) await moveKeys(from, to, slot, options);
  const primaries = await members.which(({ role }) => role === 'primary');
  const others = primaries.filter((server) => server !== from && server !== to);
  for (const server of [to, from, ...others])
    await lanes.set(server, slots, 'NODE', toId);
}

/**
 * Valkey answers SETSLOT only when the replicas have it, which takes milliseconds for each slot of
 * one connection, but no longer for those of many. Not MULTI: Valkey 9.1 crashes.
 */
class Lanes {
  readonly #lanes = new Map<TestServer, Redis[]>();

  constructor(private readonly count: number) {}

  async set(
    server: TestServer,
    slots: readonly number[],
    state: 'IMPORTING' | 'MIGRATING' | 'NODE',
    id: string,
  ): Promise<void> {
    const lanes = this.#of(server);
    await Promise.all(
      slots.map((slot, i) =>
        lanes[i % this.count]!.call('CLUSTER', 'SETSLOT', slot, state, id),
      ),
    );
  }

  close(): void {
    for (const lane of [...this.#lanes.values()].flat()) lane.disconnect();
  }

  #of(server: TestServer): Redis[] {
    const open = () =>
      Array.from({ length: this.count }, () => server.client());
    const lanes = this.#lanes.get(server) ?? open();
    this.#lanes.set(server, lanes);
    return lanes;
  }
}

async function moveKeys(
  from: TestServer,
  to: TestServer,
  slot: number,
  { batch = 100, pauseBetween }: MoveOptions,
): Promise<void> {
  for (;;) {
    await pauseBetween?.();
    const keys = (await from.redis.callBuffer(
      ...(['CLUSTER', 'GETKEYSINSLOT', slot, batch] as const),
    )) as Buffer[];
    if (keys.length === 0) return;
    const { username, password } = to.login;
    const login = username
      ? ['AUTH2', username, password ?? '']
      : password
        ? ['AUTH', password]
        : [];
    // NOKEY when all of them expired since they were listed: not an error.
    await from.redis.call(
      'MIGRATE',
      ...[to.host, to.port, '', 0, 10_000, ...login, 'KEYS', ...keys],
    );
  }
}

/** Gives all slots of a primary to the others, each a part. */
export async function empty(
  members: Members,
  server: TestServer,
  others: readonly TestServer[],
): Promise<void> {
  const ranges: readonly SlotRange[] =
    (await members.view()).get(members.idOf(server))?.slots ?? [];
  const slots = ranges.flatMap(slotsOf);
  const share = (n: number) => Math.ceil((n * slots.length) / others.length);
  for (const [i, other] of others.entries()) {
    const part = slots.slice(share(i), share(i + 1));
    if (part.length > 0) await moveSlots(members, part, other, {});
  }
}
