import { beforeEach, describe, expect, it } from 'vitest';
import type { Expiry } from '../../../lib/dispatch/expiry.js';
import {
  type ChannelKind,
  keyeventChannel,
  keyspaceChannel,
} from '../../../lib/listening/channels.js';
import { ExpiryRoute } from '../../../lib/listening/expiry-route.js';
import type {
  ExpiryTiming,
  DeadlineKeeper,
} from '../../../lib/listening/deadline-keeper.js';
import { SelfTest } from '../../../lib/listening/self-test.js';
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

describe('what ExpiryRoute tells and asks an observer', () => {
  let registry: SubscriptionRegistry;
  let observer: FakeObserver;
  let route: ExpiryRoute;
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
    route = new ExpiryRoute(registry, new SelfTest(0, 'p:rx:'), observer);
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
    families: readonly ChannelKind[],
    ...patterns: string[]
  ): void {
    if (families.includes('keyspace')) {
      const channel = Buffer.from(keyspaceChannel(0, `p:${key}`));
      for (const pattern of patterns)
        route.take(
          keyspaceChannel(0, `p:${pattern}`),
          channel,
          Buffer.from(event),
        );
    }
    if (families.includes('keyevent')) {
      const channel = keyeventChannel(0, event);
      route.take(channel, Buffer.from(channel), Buffer.from(`p:${key}`));
    }
  }

  const cases: [name: string, families: ChannelKind[]][] = [
    ['keyspace channels', ['keyspace']],
    ['keyevent channels', ['keyevent']],
    ['both', ['keyspace', 'keyevent']],
  ];

  describe.for(cases)('by %s', ([, families]) => {
    beforeEach(() => {
      route.kinds = new Set(families);
    });

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

  it('is an expiry by another family too, once that is listened on instead', () => {
    handle('a*');
    route.kinds = new Set(['keyspace']);
    announce('expired', 'a1', ['keyspace'], 'a*');
    route.kinds = new Set(['keyevent']);
    announce('expired', 'a1', ['keyevent']);

    expect(heard).toEqual(['a* a1 1', 'a* a1 2']);
  });

  it('are asked anew for what another connection hears, by whichever pattern first', () => {
    handle('a*');
    handle('*1');
    route.kinds = new Set(['keyspace']);
    announce('expired', 'a1', ['keyspace'], 'a*', '*1');
    observer.repeats.add('p:a1');
    route.restart();
    // Another server goes through its patterns in another order.
    announce('expired', 'a1', ['keyspace'], '*1', 'a*');

    expect(observer.told).toEqual(['expired p:a1', 'expired p:a1']);
    expect(heard).toEqual(['a* a1 1', '*1 a1 1']);
  });

  it('works without an observer', () => {
    handle('a*');
    for (const [, families] of cases) {
      route = new ExpiryRoute(registry, new SelfTest(0, 'p:rx:'), undefined);
      route.kinds = new Set(families);
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
