import { describe, expect, it } from 'vitest';
import {
  OwnHandlers,
  matchingIds,
  readHandlerList,
  readableId,
} from '../../../lib/group/own-handlers.js';
import type { ExpiryHandler } from '../../../lib/dispatch/expiry.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';

const handler = (name: string, pattern: string, scope = 'App') =>
  ({
    ...{ name, scope, glob: new RedisGlob(pattern) },
    ...{ concurrency: 1, invoke: () => undefined },
  }) satisfies ExpiryHandler;

/** The handlers under their ids, in the order in which they were added. */
function added(...handlers: ExpiryHandler[]) {
  const own = new OwnHandlers();
  for (const each of handlers) own.add(each);
  return own;
}
const idsOf = (own: OwnHandlers) => [...own].map(({ id }) => id);

describe('OwnHandlers', () => {
  it('names a handler by its scope, its name and its pattern, and numbers those that are alike', () => {
    const own = added(
      handler('A.on', 'k'),
      handler('A.on', 'k', 'Other'),
      handler('A.on', 'k:*'),
      handler('A.on', 'k'),
      handler('A.on', 'k'),
    );

    expect(idsOf(own)).toEqual([
      'App/A.on k',
      'Other/A.on k',
      'App/A.on k:*',
      'App/A.on#2 k',
      'App/A.on#3 k',
    ]);
  });

  it('gives no id twice, whatever handlers are called', () => {
    const names = ['a', 'a#2', 'a b', 'a_b', '', 'a/b'];
    const patterns = ['k', '2 k', '#2 k', 'b k', '/k', 'k\n'];
    const all = names.flatMap((name) =>
      patterns.flatMap((pattern) =>
        ['', 'a', 'a/b'].flatMap((scope) => [
          handler(name, pattern, scope),
          handler(name, pattern, scope),
        ]),
      ),
    );
    const own = added(...all);

    expect(new Set(idsOf(own)).size).toBe(all.length);
    expect([...readHandlerList(own.text).keys()].toSorted()).toEqual(
      idsOf(own).toSorted(),
    );
  });

  it('tells others of the grace of each, and is told anew where that changes', () => {
    const patient = { ...handler('B.on', 'k'), grace: 500 };
    const own = added(handler('A.on', 'k'), patient, handler('C.on', 'l'));
    const list = readHandlerList(own.text);

    expect([...list].map(([id, { grace }]) => [id, grace])).toEqual([
      ['App/A.on k', undefined],
      ['App/B.on k', 500],
      ['App/C.on l', undefined],
    ]);
    expect([...list.values()].map(({ glob }) => glob.pattern)).toEqual([
      ...['k', 'k', 'l'],
    ]);
    const other = added(handler('A.on', 'k'), { ...patient, grace: 501 });
    expect(other.text).not.toBe(own.text);
    expect(
      readHandlerList('{"k":[["App/A.on",{"later":1}]]}').get('App/A.on k'),
    ).toEqual({ glob: new RedisGlob('k') });
  });

  it('gives the number of a handler that was removed to the next one, and leaves the others theirs', () => {
    const [first, second, third] = [1, 2, 3].map(() => handler('A.on', 'k'));
    const own = added(first!, second!);
    own.remove(first!);
    own.remove(first!);
    expect(idsOf(own)).toEqual(['App/A.on#2 k']);
    own.add(third!);
    own.add(third!);

    expect(own.withId('App/A.on k')).toEqual([
      { id: 'App/A.on k', handler: third },
    ]);
    expect(own.withId('App/A.on#2 k')[0]!.handler).toBe(second);
    expect(own.withId('App/A.on#3 k')).toEqual([]);
  });

  it('finds those whose pattern matches', () => {
    const own = added(
      handler('A.on', 'k:*'),
      handler('B.on', 'k:[0-9]'),
      handler('C.on', 'x'),
    );
    const matching = (key: string) =>
      own.matching(Buffer.from(key)).map(({ id }) => id);

    expect(matching('k:1')).toEqual(['App/A.on k:*', 'App/B.on k:[0-9]']);
    expect(matching('k:a')).toEqual(['App/A.on k:*']);
    expect(matching('y')).toEqual([]);
  });

  it('writes the same text for the same handlers, in whatever order they were added', () => {
    const a = added(handler('A.on', 'k'), handler('B.on', '__proto__'));
    const b = added(handler('B.on', '__proto__'), handler('A.on', 'k'));
    expect(a.text).toBe(b.text);
    expect([...readHandlerList(a.text)].map(([id]) => id).toSorted()).toEqual([
      'App/A.on k',
      'App/B.on __proto__',
    ]);

    b.remove([...b][0]!.handler);
    expect(a.text).not.toBe(b.text);
    expect(added().text).toBe('{}');
  });

  it('tells which values handlers ask for, and keeps that out of their ids', () => {
    const own = added(
      { ...handler('A.on', 'k'), value: 'json' },
      { ...handler('B.on', 'k'), value: 'hash' },
      { ...handler('C.on', 'l'), value: 'buffer' },
      handler('D.on', 'l'),
      handler('E.on', 'm'),
    );
    const list = readHandlerList(own.text);

    expect([...list].map(([id, { values }]) => [id, values])).toEqual([
      ['App/A.on k', 'string'],
      ['App/B.on k', 'hash'],
      ['App/C.on l', 'string'],
      ['App/D.on l', undefined],
      ['App/E.on m', undefined],
    ]);
    expect([...list.keys()]).toEqual([...own].map(({ id }) => id));
    // What a later version may write is no reason to overlook a handler.
    const later = readHandlerList('{"m":["X/Y.z hash","X/Y.a new"]}');
    expect([...later].map(([id, { values }]) => [id, values])).toEqual([
      ['X/Y.z m', 'hash'],
      ['X/Y.a m', undefined],
    ]);
  });

  it.for(['', 'nonsense', '[1]', 'null', '{"k":1}', '{"k":["a"],"l":{}}'])(
    'reads nothing from what it did not write: %s',
    (text) => {
      expect(readHandlerList(text).size).toBe(0);
    },
  );

  it.for([
    ['App/A.on k', 'A.on k'],
    ['App:TOKEN/A.on#2 a/b *', 'A.on#2 a/b *'],
    ['/A.on k', 'A.on k'],
    ['(not readable)', '(not readable)'],
    ['A.on a/b', 'A.on a/b'],
  ] as const)('shows people of %s only %s', ([id, shown]) => {
    expect(readableId(id)).toBe(shown);
  });

  it('tells handlers of warnings from those of expiries, and by their before', () => {
    const warned = (before: number) => ({ ...handler('A.on', 'k:*'), before });
    const own = added(
      handler('A.on', 'k:*'),
      warned(500),
      warned(500),
      warned(1_000),
    );
    const ids = [
      'App/A.on k:*',
      'App/A.on<500 k:*',
      'App/A.on#2<500 k:*',
      'App/A.on<1000 k:*',
    ];
    const key = Buffer.from('k:1');
    const matching = (before?: number) =>
      own.matching(key, before).map(({ id }) => id);

    expect(idsOf(own)).toEqual(ids);
    expect(matching()).toEqual(ids.slice(0, 1));
    expect(matching(500)).toEqual(ids.slice(1, 3));
    expect(matching(2)).toEqual([]);
    const list = readHandlerList(own.text);
    expect(matchingIds(list, key, 1_000)).toEqual(ids.slice(3));
    expect(matchingIds(list, key, undefined)).toEqual(ids.slice(0, 1));
    expect(ids.map(readableId)).toEqual([
      'A.on k:*',
      'A.on k:*',
      'A.on#2 k:*',
      'A.on k:*',
    ]);
    // No name of a function can pass for it.
    expect(idsOf(added(handler('on<5', 'k')))).toEqual(['App/on_5 k']);
  });
});
