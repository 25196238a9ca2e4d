import { beforeEach, describe, expect, it } from 'vitest';
import {
  type ChannelKind,
  keyeventChannel,
  keyspaceChannel,
} from '../../../lib/keyspace/channels.js';
import { ExpiryRoute } from '../../../lib/keyspace/expiry-route.js';
import type { NodeObserver } from '../../../lib/keyspace/node-observer.js';
import { SelfTest } from '../../../lib/keyspace/self-test.js';
import { SubscriptionRegistry } from '../../../lib/keyspace/subscription-registry.js';
import { Told } from '../../../lib/keyspace/told.js';

/** Ms for which another server may have stood there unnoticed. */
const WITHIN = 3_000;

describe.each<{ families: ChannelKind[] }>([
  { families: ['keyspace'] },
  { families: ['keyevent'] },
  { families: ['keyspace', 'keyevent'] },
])(
  'an expiry of which the server told that stood here before, by $families',
  ({ families }) => {
    let route: ExpiryRoute;
    let now: number;
    let known: ReadonlySet<string>;
    let heard: string[];

    beforeEach(() => {
      [now, known, heard] = [50_000, new Set(), []];
      const registry = new SubscriptionRegistry({
        ...{ database: 0, keyPrefix: '', namespace: 'rx' },
        ...{ hints: ['new', 'expire'], wantedFlags: 'n' },
      });
      for (const pattern of ['k*', '*1'])
        registry.add({
          pattern,
          onExpiry: ({ key }) => heard.push(`${pattern} ${key.toString()}`),
        });
      const observer = {
        expired: (key: Buffer) =>
          known.has(key.toString())
            ? { deadline: new Date(), lateness: 1 }
            : undefined,
        hint: () => undefined,
        changed: () => undefined,
      } as unknown as NodeObserver;
      route = new ExpiryRoute(
        registry,
        new SelfTest(0, 'rx:'),
        observer,
        new Told(WITHIN, () => now),
      );
      route.kinds = new Set(families);
      route.reconnected();
      now += 60_000;
    });

    /** As Redis does: for each pattern on the keyspace channel, then once on the keyevent channel. */
    function announce(event: string, key: string) {
      if (families.includes('keyspace'))
        for (const pattern of ['k*', '*1'])
          route.take(
            keyspaceChannel(0, pattern),
            Buffer.from(keyspaceChannel(0, key)),
            Buffer.from(event),
          );
      if (families.includes('keyevent')) {
        const channel = keyeventChannel(0, event);
        route.take(channel, Buffer.from(channel), Buffer.from(key));
      }
    }

    /** What handlers hear of an expiry that is announced. */
    function hears(key = 'k1') {
      heard = [];
      announce('expired', key);
      return heard;
    }
    const BOTH = ['k* k1', '*1 k1'];

    function replaceServer() {
      now += 10;
      route.reconnected();
      now += 10;
    }

    it('is not handed on again, by any pattern', () => {
      expect(hears()).toEqual(BOTH);
      replaceServer();

      expect(hears()).toEqual([]);
      expect(hears('k21')).toEqual(['k* k21', '*1 k21']);
    });

    it('is handed on again when it comes twice from the new one: it is another life', () => {
      hears();
      replaceServer();
      hears();

      expect(hears()).toEqual(BOTH);
    });

    it('is handed on again by the same connection', () => {
      expect(hears()).toEqual(BOTH);
      expect(hears()).toEqual(BOTH);
    });

    it('is handed on when the key was known to live: it is another life', () => {
      hears();
      replaceServer();
      known = new Set(['k1']);

      expect(hears()).toEqual(BOTH);
    });

    it.each(['new', 'expire'])(
      'is handed on when "%s" was heard of the key since',
      (event) => {
        hears();
        replaceServer();
        announce(event, 'k1');

        expect(hears()).toEqual(BOTH);
      },
    );

    it('is handed on when the key was seen to change since', () => {
      hears();
      replaceServer();
      route.takeChanged([Buffer.from('k1')]);

      expect(hears()).toEqual(BOTH);
    });

    it('is not handed on again after several tries to connect', () => {
      hears();
      replaceServer();
      replaceServer();

      expect(hears()).toEqual([]);
    });

    it('is handed on when it was told longer ago than another server may have gone unnoticed', () => {
      hears();
      now += WITHIN;
      replaceServer();

      expect(hears()).toEqual(BOTH);
    });

    it('is not, though others were told between', () => {
      hears();
      now += WITHIN - 100;
      hears('k2');
      replaceServer();

      expect(hears()).toEqual([]);
    });

    it('is handed on ten seconds after the new one is connected, however late that may be', () => {
      hears();
      replaceServer();
      now += 9_000;
      expect(hears()).toEqual([]);

      hears('k31');
      replaceServer();
      now += 10_000;
      expect(hears('k31')).toEqual(['k* k31', '*1 k31']);
    });
  },
);
