import { beforeEach, describe, expect, it } from 'vitest';
import type { Expiry } from '../../../lib/dispatch/expiry.js';
import {
  type ChannelFamily,
  keyeventChannel,
  keyspaceChannel,
} from '../../../lib/listening/channels.js';
import type {
  ExpiryTiming,
  DeadlineKeeper,
} from '../../../lib/listening/deadline-keeper.js';
import { MessageRouter } from '../../../lib/listening/message-router.js';
import { SubscriptionRegistry } from '../../../lib/listening/subscription-registry.js';

/** Knows of each expiry only which it was, and notes what it is told. */
class FakeObserver implements DeadlineKeeper {
  readonly told: string[] = [];
  readonly status = { tracked: 0 };
  /** Keys of which another server told. */
  readonly repeats = new Set<string>();
  #expiries = 0;

  expired(key: Buffer): ExpiryTiming | 'repeat' {
    this.told.push(`expired ${key.toString()}`);
    if (this.repeats.has(key.toString())) return 'repeat';
    const lateness = ++this.#expiries;
    return { deadline: new Date(lateness * 1_000), lateness };
  }

  silent(): void {
    this.told.push('silent');
  }

  changed(key: Buffer): void {
    this.told.push(`changed ${key.toString()}`);
  }

  hint(event: string, key: Buffer): void {
    this.told.push(`${event} ${key.toString()}`);
  }

  listening(): void {}
  lost(): void {}
  close(): void {}
  ready = (): Promise<void> => Promise.resolve();
}

describe('what MessageRouter tells and asks of deadlines', () => {
  let registry: SubscriptionRegistry;
  let observer: FakeObserver;
  let router: MessageRouter;
  /** What the sinks were told, as `pattern key lateness`. */
  let heard: string[];

  beforeEach(() => {
    heard = [];
    observer = new FakeObserver();
    registry = new SubscriptionRegistry({
      database: 0,
      keyPrefix: 'p:',
      namespace: 'rx',
      hints: ['new', 'expire'],
      wantedFlags: 'n',
    });
    router = new MessageRouter(registry, observer);
  });

  function handle(pattern: string): void {
    const onExpiry = ({ key, lateness }: Expiry) =>
      heard.push(`${pattern} ${key.toString()} ${lateness}`);
    registry.add({ pattern, onExpiry });
  }

  /** What Redis sends for one event of a key, by all subscriptions that match, or by some pattern's. */
  function announce(
    event: string,
    key: string,
    families: readonly ChannelFamily[],
    ...patterns: string[]
  ): void {
    if (families.includes('keyspace')) {
      const channel = Buffer.from(keyspaceChannel(0, `p:${key}`));
      for (const pattern of patterns)
        router.take(
          keyspaceChannel(0, `p:${pattern}`),
          channel,
          Buffer.from(event),
        );
    }
    if (families.includes('keyevent')) {
      const channel = keyeventChannel(0, event);
      router.take(channel, Buffer.from(channel), Buffer.from(`p:${key}`));
    }
  }

  /** Which family it listens on, and which ones Redis announces by. */
  const cases: [
    name: string,
    listened: ChannelFamily | undefined,
    families: ChannelFamily[],
  ][] = [
    ['keyspace channels', 'keyspace', ['keyspace']],
    ['keyevent channels', 'keyevent', ['keyevent']],
    ['keyspace channels while it is undecided', undefined, ['keyspace']],
    ['keyevent channels while it is undecided', undefined, ['keyevent']],
    ['both while it is undecided', undefined, ['keyspace', 'keyevent']],
    ['both, of which one counts,', 'keyspace', ['keyspace', 'keyevent']],
    ['both, of which the other counts,', 'keyevent', ['keyspace', 'keyevent']],
  ];

  describe.for(cases)('by %s', ([, listened, families]) => {
    beforeEach(() => router.listenOn(listened));

    it('is whether another server told it: then no pattern hears of it', () => {
      handle('a*');
      handle('*1');
      observer.repeats.add('p:a1');
      announce('expired', 'a1', families, 'a*', '*1');
      announce('expired', 'a2', families, 'a*');

      expect(observer.told).toEqual(['expired p:a1', 'expired p:a2']);
      expect(heard).toEqual(['a* a2 1']);
    });

    it('are keys that are created or renewed', () => {
      handle('a*');
      announce('new', 'a1', families, 'a*');
      announce('expire', 'a1', families, 'a*');
      announce('set', 'a1', families, 'a*');
      announce('del', 'a1', families, 'a*');

      const told = new Set(observer.told);
      expect([...told]).toEqual(['new p:a1', 'expire p:a1']);
      expect(heard).toEqual([]);
    });

    it('are none that nobody handles, nor the keys of the module', () => {
      handle('*');
      announce('new', 'rx:1', families, '*');
      announce('expire', 'rx:1', families, '*');
      announce('expired', 'rx:1', families, '*');

      expect(observer.told).toEqual([]);
      expect(heard).toEqual([]);
    });

    it('is each expiry once, also with patterns that overlap', () => {
      handle('a*');
      handle('*1');
      announce('expired', 'a1', families, 'a*', '*1');
      announce('expired', 'a2', families, 'a*');
      announce('expired', 'a1', families, 'a*', '*1');

      expect(observer.told).toEqual([
        'expired p:a1',
        'expired p:a2',
        'expired p:a1',
      ]);
      expect(heard.toSorted()).toEqual([
        '*1 a1 1',
        '*1 a1 3',
        'a* a1 1',
        'a* a1 3',
        'a* a2 2',
      ]);
    });

    it('is each life of one key, also with nothing announced in between', () => {
      handle('a*');
      handle('*1');
      for (let life = 1; life <= 3; life++)
        announce('expired', 'a1', families, 'a*', '*1');

      expect(observer.told).toHaveLength(3);
      expect(heard.toSorted()).toEqual([
        '*1 a1 1',
        '*1 a1 2',
        '*1 a1 3',
        'a* a1 1',
        'a* a1 2',
        'a* a1 3',
      ]);
    });

    it('is each life of one key, with its creation in between', () => {
      handle('a*');
      for (let life = 1; life <= 3; life++) {
        announce('new', 'a1', families, 'a*');
        announce('expired', 'a1', families, 'a*');
      }

      expect(observer.told.filter((t) => t === 'expired p:a1')).toHaveLength(3);
      expect(heard).toEqual(['a* a1 1', 'a* a1 2', 'a* a1 3']);
    });
  });

  it('are expiries by keyevent, while it is undecided, until one comes on a keyspace channel', () => {
    handle('a*');
    announce('expired', 'a1', ['keyevent']);
    // Keyspace channels are switched on beside them.
    announce('expired', 'a2', ['keyspace', 'keyevent'], 'a*');
    announce('expired', 'a3', ['keyspace', 'keyevent'], 'a*');
    announce('expired', 'a4', ['keyevent']);

    expect(router.family).toBe('keyspace');
    expect(heard).toEqual(['a* a1 1', 'a* a2 2', 'a* a3 3']);
  });

  it('are expiries by the family that it listens on, from the next message on', () => {
    handle('a*');
    router.listenOn('keyspace');
    announce('expired', 'a1', ['keyspace', 'keyevent'], 'a*');
    router.listenOn('keyevent');
    announce('expired', 'a1', ['keyspace', 'keyevent'], 'a*');

    expect(heard).toEqual(['a* a1 1', 'a* a1 2']);
  });

  it('works without an observer', () => {
    handle('a*');
    for (const [, listened, families] of cases.slice(0, 3)) {
      router = new MessageRouter(registry, undefined);
      router.listenOn(listened);
      for (const event of ['new', 'expire', 'expired'])
        announce(event, 'a1', families, 'a*');
    }

    expect(heard).toEqual([
      'a* a1 undefined',
      'a* a1 undefined',
      'a* a1 undefined',
    ]);
  });
});
