import { Inject, Injectable, Scope, type Type } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { concat, of, throwError } from 'rxjs';
import { expect } from 'vitest';
import {
  type KeyExpiredEvent,
  type KeyExpiringEvent,
  OnKeyExpired,
  OnKeyExpiring,
  type RedisExpiryKeys,
  type RedisExpiryModuleOptions,
  type RedisExpirySubscriber,
} from '../../../lib/index.js';
import { deferred, eventually } from '../../support/eventually.js';

/** How one try ended, in words that the kit and a real server have in common. */
export interface Seen {
  readonly handler: string;
  readonly key: string;
  readonly attempt: number;
  readonly captures: readonly string[];
  readonly group: string | undefined;
  readonly hasId: boolean;
  readonly database: number;
  /** What the event says of the value. */
  readonly value: unknown;
  readonly valueText: string | undefined;
}

/** What a key is written with. */
export interface Written {
  readonly key: string;
  readonly value?: string | Buffer;
  readonly hash?: Record<string, string>;
}

/** What a scenario acts on: the kit, or an application on a real server. */
export interface Stage {
  readonly subscriber: RedisExpirySubscriber;
  readonly keys: RedisExpiryKeys;
  /** Lets keys expire, and waits until every first try has ended. */
  readonly expire: (...keys: string[]) => Promise<void>;
  /** Lets keys expire that hold something, each with so many handlers, and waits as `expire` does. */
  readonly expireWith: (handlers: number, ...keys: Written[]) => Promise<void>;
  /** Writes a key that stays. */
  readonly write: (key: string) => Promise<void>;
  /** Writes a key with a time to live, in ms. */
  readonly set: (key: string, ttl: number) => Promise<void>;
  readonly delete: (key: string) => Promise<void>;
  /** Lets keys expire of which a handler `Hasty` is told at once, and waits for that. */
  readonly lapse: (...keys: string[]) => Promise<void>;
  /** Writes keys that stay, while their expiries wait. */
  readonly bringBack: (...keys: string[]) => Promise<void>;
  /** Lets so many ms pass by the kit's clock; on a server it takes as long as it takes until something is true, where that is given. */
  readonly pass: (
    ms: number,
    until?: () => boolean | Promise<boolean>,
  ) => Promise<void>;
}

type See = (handler: string, event: KeyExpiredEvent) => void;

/** A provider with one method that is warned of keys, so many ms before. */
function warned(
  see: See,
  name: string,
  pattern: string,
  before: number,
  work: (event: KeyExpiredEvent) => unknown = () => undefined,
): Type {
  @Injectable()
  class Provider {
    @OnKeyExpiring(pattern, { before })
    on(event: KeyExpiringEvent): unknown {
      // The first millisecond of a server's may be over before the module looks.
      const isPunctual = event.remaining > before / 2;
      see(`${name} ${isPunctual} ${event.source}`, event);
      return work(event);
    }
  }
  Object.defineProperty(Provider, 'name', { value: name });
  return Provider;
}

export interface Scenario {
  readonly name: string;
  readonly options?: RedisExpiryModuleOptions;
  /** Makes the providers; `see` is told of each event. */
  readonly providers: (see: See) => Type[];
  /** Returns whatever else is to be compared. */
  readonly act: (stage: Stage) => Promise<unknown>;
}

/** A provider with one method. */
export function provider(
  see: See,
  name: string,
  pattern: string,
  work: (event: KeyExpiredEvent) => unknown = () => undefined,
  options: Parameters<typeof OnKeyExpired>[1] = {},
): Type {
  @Injectable()
  class Provider {
    on(event: KeyExpiredEvent): unknown {
      see(name, event);
      return work(event);
    }
  }
  Object.defineProperty(Provider, 'name', { value: name });
  const { prototype } = Provider;
  OnKeyExpired(pattern, options)(
    prototype,
    'on',
    Object.getOwnPropertyDescriptor(prototype, 'on')!,
  );
  return Provider;
}

const failUntil =
  (attempt: number) =>
  (event: KeyExpiredEvent): void => {
    if (event.attempt < attempt) throw new Error(`try ${event.attempt}`);
  };

const GROUP = { group: 'presence' };
const letters = async ({ subscriber }: Stage) =>
  (await subscriber.deadLetters()).map(
    ({ key, handler, attempts, error, group, value, valueBuffer }) => ({
      ...{ key, handler, attempts, error, group, value, valueBuffer },
    }),
  );

/** What the handler of k:1 waits for, in the scenario that has one. */
let firstMayEnd = deferred();
/** What becomes of keys that stay away, come back, come back and are deleted, and come back and run out again. */
const absences: Scenario['act'] = async (stage) => {
  const { lapse, bringBack, pass, subscriber } = stage;
  await lapse('d:away', 'd:back', 'd:again');
  await bringBack('d:back');
  await lapse('d:again');
  await pass(1_500, () => {
    const { handled, cameBack } = subscriber.status().counters;
    return handled + cameBack === 8;
  });
  const { received, handled, cameBack, superseded } =
    subscriber.status().counters;
  const { inGrace } = subscriber.status();
  return { received, handled, cameBack, superseded, inGrace };
};
const patient = (see: See): Type[] => [
  provider(see, 'Patient', 'd:*', undefined, { grace: 1_200 }),
  provider(see, 'Hasty', 'd:*', undefined, { grace: 0 }),
];

/** A handler for each form of a value, and one that asks for none. */
const inEachForm = (see: See): Type[] => [
  ...(['text', 'buffer', 'json', 'hash'] as const).map((value) =>
    provider(see, value, 'k:*', undefined, { value }),
  ),
  provider(see, 'none', 'k:*'),
];

/** Values of each kind; 16 bytes are the most that the scenarios allow. */
const VALUES: readonly Written[] = [
  { key: 'k:json', value: '{"a":[1]}' },
  { key: 'k:text', value: 'ö' },
  { key: 'k:binary', value: Buffer.from([0, 255, 10]) },
  { key: 'k:empty', value: '' },
  { key: 'k:hash', hash: { a: '1', ü: '' } },
  { key: 'k:fits', value: '1234567890123456' },
  { key: 'k:long', value: '12345678901234567' },
  { key: 'k:fields', hash: { a: '1234567890123456' } },
];

const valued = async ({ expireWith, subscriber }: Stage) => {
  await expireWith(5, ...VALUES);
  const { valuesTooLong } = subscriber.status().counters;
  return { valuesTooLong };
};

const READ = { values: { lead: 400, maxBytes: 16 } };

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'a value is shown in the form that each handler asks for',
    options: READ,
    providers: inEachForm,
    act: valued,
  },
  {
    name: 'a value is shown in the form that each handler of a group asks for',
    options: { ...READ, group: 'presence' },
    providers: inEachForm,
    act: valued,
  },
  {
    name: 'a dead letter has the value, and a try after that has it again',
    options: {
      ...{ ...READ, group: 'presence' },
      retry: { attempts: 2, backoff: 10 },
    },
    providers: (see) => [
      provider(see, 'Text', 'k:t', failUntil(9), { value: 'text' }),
      provider(see, 'Hash', 'k:h', failUntil(9), { value: 'hash' }),
    ],
    act: async (stage) => {
      await stage.expireWith(
        1,
        { key: 'k:t', value: 'text' },
        { key: 'k:h', hash: { a: '1' } },
      );
      await stage.pass(
        200,
        async () => (await stage.subscriber.deadLetters()).length === 2,
      );
      return (await letters(stage)).toSorted((a, b) =>
        a.key < b.key ? -1 : 1,
      );
    },
  },
  {
    name: 'a handler with a grace is told of absences that last',
    providers: patient,
    act: absences,
  },
  {
    name: 'a handler with a grace is told of absences that last, in a group',
    options: GROUP,
    providers: patient,
    act: absences,
  },
  {
    name: 'an expiry goes to every handler whose pattern matches, with captures',
    providers: (see) => [
      provider(see, 'One', 'device:*'),
      provider(see, 'Two', '*:[1-4]*'),
      provider(see, 'Three', 'session:*'),
    ],
    act: ({ expire }) => expire('device:42', 'device:7', 'session:9'),
  },
  {
    name: 'in a group it has an id and the name of the group',
    options: GROUP,
    providers: (see) => [
      provider(see, 'Grouped', 'device:*'),
      provider(see, 'Broadcast', 'device:*', undefined, { group: false }),
    ],
    act: async ({ expire, pass, subscriber }) => {
      await expire('device:42');
      await pass(0, () => subscriber.status().counters.handled === 2);
    },
  },
  {
    name: 'what fails in broadcast is not tried again',
    providers: (see) => [provider(see, 'Failing', 'k', failUntil(9))],
    act: async ({ expire, pass, subscriber }) => {
      await expire('k');
      await pass(50);
      const { handled, failed, retried } = subscriber.status().counters;
      return { handled, failed, retried };
    },
  },
  {
    name: 'what fails in a group is tried again, each handler on its own',
    options: { ...GROUP, retry: { backoff: 20 } },
    providers: (see) => [
      provider(see, 'Thrice', 'k', failUntil(3)),
      provider(see, 'Once', 'k'),
    ],
    act: async ({ expire, pass, subscriber }) => {
      await expire('k');
      await pass(200, () => subscriber.status().counters.handled === 2);
      const { handled, failed, retried } = subscriber.status().counters;
      return { handled, failed, retried };
    },
  },
  {
    name: 'what fails too often is a dead letter, which can be tried anew or discarded',
    options: { ...GROUP, retry: { attempts: 2, backoff: 10 } },
    providers: (see) => {
      const broken = new Set(['a', 'b']);
      return [
        provider(see, 'Broken', '?', ({ key, attempt }) => {
          if (broken.has(key)) throw new Error(`${key} ${attempt}`);
        }),
        provider(see, 'Mend', 'mend:*', ({ captures }) => {
          broken.delete(captures[0]!);
        }),
      ];
    },
    act: async (stage) => {
      const { expire, pass, subscriber } = stage;
      const dead = (count: number) => async () =>
        (await subscriber.deadLetters()).length === count;
      await expire('a');
      await pass(100, dead(1));
      await expire('b');
      await pass(100, dead(2));
      const before = await letters(stage);
      const [first, second] = await subscriber.deadLetters();
      await expire('mend:a');
      const done = [
        await subscriber.redrive(first!.id),
        await subscriber.discard(second!.id),
        await subscriber.discard(second!.id),
      ];
      // Both tries of b failed; a was handled after its letter was tried anew, and so was mend:a.
      await pass(100, () => subscriber.status().counters.handled === 2);
      return { before, done, after: await letters(stage) };
    },
  },
  {
    name: 'promises and Observables are waited for, and their errors are failures',
    providers: (see) => [
      provider(see, 'Promise', 'p', () => Promise.resolve(1)),
      provider(see, 'Rejected', 'p', () => Promise.reject(new Error('no'))),
      provider(see, 'Observable', 'p', () => of(1, 2)),
      provider(see, 'Errored', 'p', () =>
        concat(
          of(1),
          throwError(() => new Error('no')),
        ),
      ),
    ],
    act: async ({ expire, subscriber }) => {
      await expire('p');
      const { handled, failed } = subscriber.status().counters;
      return { handled, failed };
    },
  },
  {
    name: 'a timeout is a failure, which a group tries again',
    options: { ...GROUP, retry: { backoff: 10 } },
    providers: (see) => [
      provider(
        see,
        'Hanging',
        'k',
        ({ attempt }) =>
          attempt === 1 ? new Promise<void>(() => undefined) : undefined,
        { timeout: 100 },
      ),
    ],
    act: async ({ expire, pass, subscriber }) => {
      void expire('k');
      await pass(400, () => subscriber.status().counters.handled === 1);
      const { handled, failed, retried } = subscriber.status().counters;
      return { handled, failed, retried };
    },
  },
  {
    name: 'a request-scoped provider is made anew for each event, with the event',
    providers: (see) => {
      @Injectable({ scope: Scope.REQUEST })
      class Scoped {
        #calls = 0;
        constructor(@Inject(REQUEST) private readonly event: KeyExpiredEvent) {}

        @OnKeyExpired('s:*')
        on(event: KeyExpiredEvent): void {
          see(`Scoped ${++this.#calls} ${this.event.key}`, event);
        }
      }
      return [Scoped];
    },
    act: ({ expire }) => expire('s:1', 's:2'),
  },
  {
    name: 'handlers that are stacked on one method run for each pattern',
    providers: (see) => {
      class Stacked {
        @OnKeyExpired('a:*')
        @OnKeyExpired('*:b')
        on(event: KeyExpiredEvent): void {
          see(`Stacked ${event.pattern}`, event);
        }
      }
      return [Stacked];
    },
    act: ({ expire }) => expire('a:1', 'a:b', '1:b'),
  },
  {
    name: 'a handler that is subscribed by hand runs until it is unsubscribed',
    providers: (see) => [provider(see, 'Other', '*')],
    act: async ({ subscriber, expire }) => {
      const keys: string[] = [];
      const subscription = await subscriber.subscribe('k:*', ({ key }) =>
        keys.push(key),
      );
      await expire('k:1');
      await subscription.unsubscribe();
      await expire('k:2');
      return { keys, pattern: subscription.pattern };
    },
  },
  {
    name: 'expirations() emits to whoever is subscribed',
    providers: (see) => [provider(see, 'Other', '*')],
    act: async ({ subscriber, expire }) => {
      const keys: string[] = [];
      const subscription = subscriber
        .expirations('k:*')
        .subscribe(({ key }) => keys.push(key));
      await subscriber.ready();
      await expire('k:1', 'x', 'k:2');
      subscription.unsubscribe();
      return keys.toSorted();
    },
  },
  {
    name: 'a key is named without the keyPrefix, and the database with it',
    options: { connection: { keyPrefix: 'app:', db: 2 } },
    providers: (see) => [provider(see, 'Prefixed', 'device:*')],
    act: ({ expire }) => expire('device:1'),
  },
  {
    name: 'a key that is written again before its turn is superseded',
    options: { concurrency: 1 },
    providers: (see) => [
      provider(see, 'Slow', 'k:*', ({ key }) =>
        key === 'k:1' ? firstMayEnd.promise : undefined,
      ),
    ],
    act: async ({ expire, write, subscriber }) => {
      firstMayEnd = deferred();
      const received = (count: number) =>
        eventually(() =>
          expect(subscriber.status().counters.received).toBe(count),
        );
      const first = expire('k:1');
      await received(1);
      const others = expire('k:2', 'k:3');
      await received(3);
      await write('k:2');
      firstMayEnd.resolve();
      await Promise.all([first, others]);
      const { handled, superseded } = subscriber.status().counters;
      return { handled, superseded };
    },
  },
  {
    name: 'a key is warned of once for each deadline, and then it expires',
    options: { connection: { keyPrefix: 'app:' } },
    providers: (see) => [
      warned(see, 'Long', 's:*', 1_000),
      warned(see, 'Short', 's:*', 400),
      provider(see, 'Expired', 's:*'),
    ],
    act: async ({ set, pass, subscriber }) => {
      const handled = (count: number) => () =>
        subscriber.status().counters.handled === count;
      await set('s:1', 1_300);
      await set('s:short', 900);
      await pass(400, handled(1));
      // Renewed after the first warning, and before the second one.
      await set('s:1', 1_500);
      await pass(1_600, handled(6));
      const { received, superseded } = subscriber.status().counters;
      return { received, superseded };
    },
  },
  {
    name: 'a warning in a group is tried again, and is a dead letter in the end',
    options: { ...GROUP, retry: { attempts: 2, backoff: 20 } },
    providers: (see) => [
      warned(see, 'Warned', 's:*', 60_000, failUntil(9)),
      provider(see, 'Expired', 's:*'),
    ],
    act: async (stage) => {
      const { set, pass, subscriber } = stage;
      await set('s:1', 60_300);
      await pass(400, async () => (await letters(stage)).length === 1);
      const [letter] = await subscriber.deadLetters();
      return { letters: await letters(stage), before: letter!.before };
    },
  },
  {
    name: 'a warning is superseded if the key is renewed or deleted before its turn',
    options: { concurrency: 1 },
    providers: (see) => [
      // One after the other is told of the same key.
      warned(see, 'First', 's:*', 60_000, ({ key }) => meddle(key)),
      warned(see, 'Second', 's:*', 60_000),
    ],
    act: async ({ set, pass, subscriber, ...stage }) => {
      meddle = async (key) => {
        if (key === 's:1') await set('s:1', 90_000);
        if (key === 's:2') await stage.delete('s:2');
      };
      for (const key of ['s:1', 's:2', 's:3']) await set(key, 60_250);
      const over = (): boolean => {
        const { handled, superseded } = subscriber.status().counters;
        return handled + superseded === 6;
      };
      await pass(260, over);
      const { handled, superseded } = subscriber.status().counters;
      return { handled, superseded };
    },
  },
  {
    name: 'keys that are armed, renewed and cancelled expire or not, and say so',
    options: GROUP,
    providers: (see) => [provider(see, 'Armed', '*')],
    act: async ({ keys, pass, subscriber }) => {
      const until = (handled: number) => () =>
        subscriber.status().counters.handled === handled;
      const ttl = 3_600_000;
      const one = await keys.arm('one', { ttl: 100, value: 'x' });
      await pass(101, until(1));
      const many = await keys.armMany([
        { key: 'one', ttl: 50 },
        { key: 'two', ttl },
        { key: 'two', ttl },
        { key: 'three', ttl },
      ]);
      await pass(51, until(2));
      const renewed = [
        await keys.renew('one', { ttl }),
        await keys.renew('two', { ttl: 50 }),
        await keys.renew('none', { ttl, value: 'x' }),
      ];
      await pass(51, until(3));
      const cancelled = [
        await keys.cancel('two'),
        await keys.cancel('three'),
        await keys.cancel('three'),
      ];
      await keys.arm('four', { ttl });
      return {
        created: [one, ...many].map(({ created }) => created),
        isDate: one.deadline instanceof Date,
        ...{ renewed, cancelled },
        enrolled: await keys.enrol(['four', 'three', Buffer.from('none')]),
      };
    },
  },
  {
    name: 'what cannot be armed is refused in the same words',
    providers: (see) => [
      provider(see, 'Other', '*', undefined, { group: 'other' }),
    ],
    act: async ({ keys, expire }) => {
      const refusals: unknown[] = [];
      const note = (error: { code: string; message: string }): void =>
        void refusals.push([error.code, error.message]);
      await keys.arm('k', { ttl: 1 }).catch(note);
      await keys.arm('k', { ttl: 0.5, group: 'other' }).catch(note);
      await keys.cancel('k').catch(note);
      await keys.enrol(['k']).catch(note);
      await keys.armMany([{ key: 'k', ttl: 1 }]).catch(note);
      await expire('k');
      return refusals;
    },
  },
];

/** What a handler does to a key that it is told of. */
let meddle: (key: string) => Promise<void> = () => Promise.resolve();
