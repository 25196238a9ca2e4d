import { describe, expect, it } from 'vitest';
import { OwnHandlers } from '../../../lib/group/own-handlers.js';
import {
  type KnownHandlers,
  type Route,
  routeOf,
} from '../../../lib/group/routing.js';
import { RunCounts } from '../../../lib/group/run-counts.js';
import {
  NOT_READABLE,
  type StoredEvent,
} from '../../../lib/group/stored-event.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';

const glob = (id: string) => new RedisGlob(id.slice(id.indexOf(' ') + 1));

/** Handlers of this instance, by ids as `/A k`. */
function ownOf(ids: readonly string[]): OwnHandlers {
  const own = new OwnHandlers();
  for (const id of ids)
    own.add({
      ...{ name: id.slice(1, id.indexOf(' ')), glob: glob(id) },
      ...{ concurrency: 1, invoke: () => undefined },
    });
  return own;
}

/** What is known of other instances at first, and what is found out by asking. */
class Others implements KnownHandlers {
  asked = 0;
  isSettled = true;
  isAway = false;

  constructor(
    private known: readonly string[],
    private readonly answer: readonly string[] | Error = known,
  ) {}

  async ask(): Promise<void> {
    this.asked++;
    await Promise.resolve();
    if (this.answer instanceof Error) throw this.answer;
    this.known = this.answer;
  }

  hasElsewhere(id: string): boolean {
    return this.known.includes(id);
  }

  isExpectedBack(): boolean {
    return this.isAway;
  }

  matchingElsewhere(key: Buffer): Set<string> {
    return new Set(this.known.filter((id) => glob(id).test(key)));
  }
}

const routed = (
  handler: string | undefined,
  own: readonly string[],
  others: Others,
  taken?: readonly string[],
): Promise<Route> => {
  const redisKey = Buffer.from('k:1');
  const event: StoredEvent = {
    ...{ redisKey, handler, deadline: 1, detected: 2 },
    ...{ source: 'notification', tries: 0, passes: 0, runs: RunCounts.none },
    ...(taken && { taken }),
  };
  return routeOf(event, redisKey, ownOf(own), others);
};

/** In short. */
const shown = (route: Route) =>
  route.to === 'here'
    ? {
        here: route.handlers.map(({ id }) => id),
        others: route.others,
        insteadOf: route.insteadOf,
      }
    : `${route.to}${route.to === 'elsewhere' && route.isAway ? ', later' : ''}`;

describe('the route of an event', () => {
  it.for<[string, string | undefined, string[], string[], unknown]>([
    [
      'all handlers here that match',
      undefined,
      ['/A k:*', '/B *', '/C x'],
      ['/D k:*'],
      { here: ['/A k:*', '/B *'], others: [], insteadOf: undefined },
    ],
    [
      'others, where none here matches',
      undefined,
      ['/C x'],
      ['/D *'],
      'elsewhere',
    ],
    ['nowhere', undefined, ['/C x'], ['/D y'], 'nowhere'],
    [
      'the handler that it is for, if it is here',
      '/B *',
      ['/A k:*', '/B *'],
      ['/B *'],
      { here: ['/B *'], others: [], insteadOf: undefined },
    ],
    [
      'others, if the handler is there',
      '/B *',
      ['/A k:*'],
      ['/B *'],
      'elsewhere',
    ],
    [
      'every handler that matches, if the handler lives nowhere',
      '/Old k:*',
      ['/A k:*', '/C x'],
      ['/A k:*', '/D *', '/E y'],
      { here: ['/A k:*'], others: ['/D *'], insteadOf: '/Old k:*' },
    ],
    [
      'every handler of others that matches, if the handler lives nowhere',
      '/Old k:*',
      ['/C x'],
      ['/D *'],
      { here: [], others: ['/D *'], insteadOf: '/Old k:*' },
    ],
    [
      'nowhere, if the handler lives nowhere',
      '/Old k:*',
      ['/C x'],
      [],
      'nowhere',
    ],
    [
      'nowhere, if it cannot be read',
      NOT_READABLE,
      ['/A *'],
      ['/B *'],
      'nowhere',
    ],
  ])('leads to %s', async ([, handler, own, others, expected]) => {
    expect(shown(await routed(handler, own, new Others(others)))).toEqual(
      expected,
    );
  });

  it.for([undefined, '/Old k:*'])(
    'is asked for before it leads nowhere, or to substitutes (handler %s)',
    async (handler) => {
      const late = ['/Old k:*'];
      const others = new Others([], late);
      expect(shown(await routed(handler, [], others))).toBe('elsewhere');
      expect(others.asked).toBe(1);

      // What is known to live is not asked for.
      expect(shown(await routed(handler, [], others))).toBe('elsewhere');
      expect(await routed(handler, late, others)).toMatchObject({ to: 'here' });
      expect(others.asked).toBe(1);
    },
  );

  it.for([undefined, '/Old k:*'])(
    'leads on as long as the answer cannot be had, or counts for nothing yet (handler %s)',
    async (handler) => {
      const away = new Others([], new Error('Redis is away'));
      expect(shown(await routed(handler, [], away))).toBe('elsewhere');

      const starting = new Others([]);
      starting.isSettled = false;
      expect(shown(await routed(handler, [], starting))).toBe('elsewhere');
      starting.isSettled = true;
      expect(shown(await routed(handler, [], starting))).toBe('nowhere');
    },
  );
});

describe('the route of an event that others got beside the handler that it is for', () => {
  it.for<[string, string[], string[], string[], unknown]>([
    [
      'leaves those out where that one lives nowhere',
      ['/A k:*', '/B *'],
      ['/D *'],
      ['/A k:*'],
      { here: ['/B *'], others: ['/D *'], insteadOf: '/Old k:*' },
    ],
    [
      'leads to nobody where there are no more than those',
      ['/A k:*'],
      ['/D *'],
      ['/A k:*', '/D *'],
      'nobody',
    ],
    [
      'leads nowhere where those are gone as well',
      ['/C x'],
      [],
      ['/A k:*'],
      'nowhere',
    ],
  ])('%s', async ([, own, known, taken, expected]) => {
    const route = await routed('/Old k:*', own, new Others(known), taken);
    expect(shown(route)).toEqual(expected);
  });

  it('waits for an instance that left and may be back', async () => {
    const others = new Others([]);
    others.isAway = true;
    const route = await routed('/Old k:*', ['/A k:*'], others, ['/A k:*']);
    expect(shown(route)).toBe('elsewhere, later');
  });
});

describe('the route of an event whose handler left a moment ago', () => {
  it.for<[string, string | undefined, string[], string[], unknown]>([
    [
      'leads on, where no other handler matches',
      undefined,
      ['/C x'],
      ['/D y'],
      'elsewhere, later',
    ],
    [
      'leads on, where no other handler matches',
      '/Old k:*',
      ['/C x'],
      [],
      'elsewhere, later',
    ],
    ['leads to those that match', undefined, ['/C x'], ['/D *'], 'elsewhere'],
    [
      'leads to those that match, if it is for the one that left',
      '/Old k:*',
      ['/A k:*'],
      [],
      { here: ['/A k:*'], others: [], insteadOf: '/Old k:*' },
    ],
  ])('%s (handler %s)', async ([, handler, own, known, expected]) => {
    const others = new Others(known);
    others.isAway = true;
    expect(shown(await routed(handler, own, others))).toEqual(expected);
  });
});
