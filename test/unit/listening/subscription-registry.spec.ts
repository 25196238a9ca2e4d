import { beforeEach, describe, expect, it } from 'vitest';
import type { Expiry } from '../../../lib/dispatch/expiry.js';
import {
  type ChannelFamily,
  FAMILIES,
  keyspaceChannel,
} from '../../../lib/listening/channels.js';
import { MessageRouter } from '../../../lib/listening/message-router.js';
import { SubscriptionRegistry } from '../../../lib/listening/subscription-registry.js';
import type { Interest } from '../../../lib/listening/interests.js';

const EXPIRED = '__keyevent@3__:expired';

let registry: SubscriptionRegistry;
/** What the sinks were told, as `sink:key`. */
let told: string[];

beforeEach(() => {
  registry = make();
  told = [];
});

const make = (keyPrefix = '') =>
  new SubscriptionRegistry({
    database: 3,
    keyPrefix,
    namespace: 'rx',
    hints: [],
    wantedFlags: '',
  });

const expiries = (pattern: string, sink = pattern): Interest => ({
  pattern,
  onExpiry: ({ key }: Expiry) => told.push(`${sink}:${key.toString()}`),
});

const messages = (channelPattern: string): Interest => ({
  channelPattern,
  onMessage: (...parts) => told.push(parts.join(' ')),
});

const channels = (...kinds: ChannelFamily[]) =>
  Object.fromEntries(registry.channels(kinds));

describe('SubscriptionRegistry.channels', () => {
  it('wants one channel for a pattern, however many there are for it', () => {
    for (const sink of ['1', '2', '3']) registry.add(expiries('a:*', sink));
    registry.add(expiries('b'));

    expect(channels('keyspace')).toEqual({
      '__keyspace@3__:a:*': ['a:*'],
      '__keyspace@3__:b': ['b'],
    });
    expect(channels('keyevent')).toEqual({ [EXPIRED]: ['a:*', 'b'] });
    expect(Object.keys(channels('keyspace', 'keyevent'))).toHaveLength(3);
  });

  it('wants a channel until the last that asked for it is gone', () => {
    const [one, two] = [expiries('a'), expiries('a')];
    const [three, four] = [messages('news.*'), messages('news.*')];
    for (const interest of [one, two, three, four]) registry.add(interest);

    for (const interest of [one, three, one, three]) registry.remove(interest);
    expect(Object.keys(channels('keyspace'))).toEqual([
      '__keyspace@3__:a',
      'news.*',
    ]);

    for (const interest of [two, four]) registry.remove(interest);
    expect(channels('keyspace', 'keyevent')).toEqual({});
  });

  it('leaves renewals out where they are not wanted, which only keyevent channels can', () => {
    registry = new SubscriptionRegistry({
      ...{ database: 3, keyPrefix: '', namespace: 'rx' },
      ...{ hints: ['new', 'expire', 'del'], wantedFlags: '' },
    });
    registry.add(expiries('a'));
    const events = (renewals: boolean) =>
      [...registry.channels(['keyevent'], { renewals }).keys()].map(
        (channel) => channel.split('__:')[1],
      );

    expect(events(true)).toEqual(['expired', 'new', 'expire', 'del']);
    expect(events(false)).toEqual(['expired', 'new', 'del']);
    expect([
      ...registry.channels(['keyspace'], { renewals: false }).keys(),
    ]).toEqual(['__keyspace@3__:a']);
  });

  it('takes the keyPrefix literally', () => {
    registry = make('a*b[c]:');
    registry.add(expiries('d:*'));

    expect(Object.keys(channels('keyspace'))).toEqual([
      '__keyspace@3__:a\\*b\\[c]:d:*',
    ]);
  });
});

describe('SubscriptionRegistry.neededFlags', () => {
  const letters = () => [...registry.neededFlags().letters].toSorted().join('');

  it('are those of expiries, with and without a handler', () => {
    expect(letters()).toBe('x');
    registry.add(expiries('a'));
    expect(letters()).toBe('x');
  });

  it('are those of the channels as well', () => {
    const evicted = messages('__keyevent@3__:evicted');
    registry.add(evicted);
    registry.add(messages('news'));
    expect(letters()).toBe('Eex');

    registry.add(messages('__keyspace@3__:*'));
    expect(letters()).toBe('EKex');

    registry.remove(evicted);
    expect(letters()).toBe('Kx');
  });
});

describe('MessageRouter', () => {
  let router: MessageRouter;

  /** Undefined: it is undecided on which family. */
  function listenOn(family?: ChannelFamily): void {
    router = new MessageRouter(registry, undefined);
    router.listenOn(family);
  }

  /** What Redis sends to whoever subscribed to all that the registry wants on both families. */
  function expire(key: string, families: ChannelFamily[]): void {
    const wanted = [...registry.channels(FAMILIES).keys()];
    if (families.includes('keyspace')) {
      for (const subscribed of wanted.filter((c) => c !== EXPIRED)) {
        const channel = Buffer.from(keyspaceChannel(3, key));
        router.take(subscribed, channel, Buffer.from('expired'));
      }
    }
    if (families.includes('keyevent'))
      router.take(EXPIRED, Buffer.from(EXPIRED), Buffer.from(key));
  }

  it.each<[ChannelFamily | undefined]>([
    ['keyspace'],
    ['keyevent'],
    [undefined],
  ])(
    'that listens on %s hands an expiry that comes on both families on once',
    (family) => {
      registry.add(expiries('a*'));
      listenOn(family);

      expire('a1', ['keyspace', 'keyevent']);
      expire('a2', ['keyspace', 'keyevent']);
      expire('a2', ['keyspace', 'keyevent']);

      expect(told).toEqual(['a*:a1', 'a*:a2', 'a*:a2']);
    },
  );

  it('that is undecided hands it on whichever family it comes on', () => {
    registry.add(expiries('a*'));
    listenOn();

    expire('a1', ['keyspace']);
    expire('a1', ['keyspace']);
    expect(told).toEqual(['a*:a1', 'a*:a1']);

    listenOn();
    expire('a2', ['keyevent']);
    expire('a2', ['keyevent']);
    expire('b', ['keyevent']);
    expect(told.slice(2)).toEqual(['a*:a2', 'a*:a2']);
  });

  it('tells every sink of every pattern that matches, once', () => {
    registry.add(expiries('a*', 'one'));
    registry.add(expiries('a*', 'two'));
    registry.add(expiries('*1', 'three'));
    for (const family of [...FAMILIES, undefined]) {
      told = [];
      listenOn(family);
      // What Redis would not send, as it knows the patterns, is not sent here either.
      expire('a1', ['keyspace', 'keyevent']);

      expect(told.toSorted()).toEqual(['one:a1', 'three:a1', 'two:a1']);
    }
  });

  it('takes only expiries for such', () => {
    registry.add(expiries('a'));
    listenOn('keyspace');
    const channel = Buffer.from('__keyspace@3__:a');
    for (const event of ['set', 'del', 'expire', 'Expired', 'expired2', ''])
      router.take('__keyspace@3__:a', channel, Buffer.from(event));

    expect(told).toEqual([]);
  });

  it("keeps the module's own keys from everybody", () => {
    registry = make('app:');
    registry.add(expiries('*'));
    registry.add(messages('__keyevent@3__:set'));
    listenOn();

    for (const key of ['app:rx:x', 'app:rx:', 'app:rxx', 'app:rx', 'rx:x'])
      expire(key, ['keyevent']);
    router.take(
      '__keyevent@3__:set',
      Buffer.from('__keyevent@3__:set'),
      Buffer.from('app:rx:x'),
    );

    // Without the prefix `app:` it is not the module's, and none that the handler knows.
    expect(told).toEqual(['*:rxx', '*:rx']);
  });

  it('strips the keyPrefix, and ignores keys without it', () => {
    registry = make('a*b[c]:');
    registry.add(expiries('*'));
    listenOn('keyevent');

    expire('a*b[c]:1', ['keyevent']);
    expire('axxbc:2', ['keyevent']);

    expect(told).toEqual(['*:1']);
  });

  it('hands messages on with the pattern they were asked for by', () => {
    registry.add(messages('__keyspace@3__:foo*'));
    listenOn('keyspace');
    const channel = Buffer.from('__keyspace@3__:foo1');

    router.take('__keyspace@3__:foo*', channel, Buffer.from('del'));

    expect(told).toEqual(['__keyspace@3__:foo* __keyspace@3__:foo1 del']);
  });

  it('hands nothing on that nobody wants any more, whatever still comes', () => {
    const [expiry, message] = [expiries('a*'), messages('__keyspace@3__:a*')];
    registry.add(expiry);
    registry.add(message);
    listenOn('keyspace');
    const subscribed = '__keyspace@3__:a*';
    const expireA1 = () =>
      router.take(
        subscribed,
        Buffer.from('__keyspace@3__:a1'),
        Buffer.from('expired'),
      );

    registry.remove(message);
    expireA1();
    expect(told).toEqual(['a*:a1']);
    registry.remove(expiry);
    expireA1();
    expect(told).toEqual(['a*:a1']);
    registry.add(message);
    expireA1();
    expect(told.slice(1)).toEqual([
      '__keyspace@3__:a* __keyspace@3__:a1 expired',
    ]);
  });

  it('has a self-test hear all messages, and only while it runs', async () => {
    listenOn('keyevent');
    const heard: string[] = [];
    const take = (subscribed: string) =>
      router.take(subscribed, Buffer.from(subscribed), Buffer.from('x'));

    take('before');
    await router.whileTesting(
      (subscribed) => heard.push(subscribed),
      async () => {
        take('one');
        await Promise.resolve();
        take('two');
      },
    );
    take('after');
    await router
      .whileTesting(
        (subscribed) => heard.push(subscribed),
        () => Promise.reject(new Error('lost')),
      )
      .catch(() => undefined);
    take('after');

    expect(heard).toEqual(['one', 'two']);
  });

  it('serves a handler and psubscribe by the same channel', () => {
    registry.add(expiries('foo*'));
    registry.add(messages('__keyspace@3__:foo*'));
    listenOn('keyspace');

    expire('foo1', ['keyspace']);

    expect(told).toEqual([
      '__keyspace@3__:foo* __keyspace@3__:foo1 expired',
      'foo*:foo1',
    ]);
  });
});
