import { describe, expect, it } from 'vitest';
import { RunCounts } from '../../../lib/group/run-counts.js';
import {
  type StoredEvent,
  eventId,
  fromFields,
  fromPayload,
  latenessOf,
  toPayload,
  toStored,
} from '../../../lib/group/stored-event.js';

const event = (more: Partial<StoredEvent> = {}): StoredEvent => ({
  redisKey: Buffer.from('device:42'),
  deadline: 1_000,
  detected: 1_002,
  source: 'notification',
  handler: undefined,
  tries: 0,
  runs: RunCounts.none,
  passes: 0,
  ...more,
});

const fields = (of: Record<string, string | Buffer>): Buffer[] =>
  Object.entries(of).flatMap(([name, value]) => [
    Buffer.from(name),
    Buffer.from(value as string),
  ]);

const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

describe('a stored event', () => {
  it('is read from the fields that settling wrote', () => {
    expect(
      fromFields(
        fields({ k: 'device:42', d: '1000', t: '1002', s: 'notification' }),
      ),
    ).toEqual(event());
    expect(
      fromFields(fields({ k: ALL_BYTES, d: '', t: '7', s: 'recovery' })),
    ).toEqual(
      event({
        redisKey: ALL_BYTES,
        deadline: undefined,
        detected: 7,
        source: 'recovery',
      }),
    );
  });

  it('of a warning says how long before the deadline it is, and has an id of its own', () => {
    const warning = event({ before: 300 });
    expect(
      fromFields(
        fields({
          ...{ k: 'device:42', d: '1000', t: '1002', s: 'notification' },
          b: '300',
        }),
      ),
    ).toEqual(warning);
    expect(eventId(warning)).toBe('device:42@1000-300');
    expect(latenessOf({ ...warning, detected: 704 })).toBe(4);
  });

  it.for<[string, StoredEvent]>([
    ['everything', event({ handler: 'A.b device:*', tries: 3 })],
    ['a warning', event({ before: 500, deadline: 2_000 })],
    ['passed on', event({ handler: 'A.b device:*', passes: 7 })],
    ['no deadline', event({ deadline: undefined, source: 'recovery' })],
    ['any bytes', event({ redisKey: ALL_BYTES })],
    ['no key at all', event({ redisKey: Buffer.alloc(0) })],
    ['runs', event({ runs: RunCounts.none.plus('a "b').plus('c').plus('c') })],
    ['a value', event({ value: { kind: 'string', bytes: ALL_BYTES, age: 7 } })],
    [
      'an empty value',
      event({ value: { kind: 'string', bytes: Buffer.alloc(0), age: 0 } }),
    ],
    [
      'a hash',
      event({ value: { kind: 'hash', bytes: Buffer.from('{}'), age: 20 } }),
    ],
    ['a handler with quotes', event({ handler: 'A."b\n é \\ *' })],
  ])('survives as a payload: %s', ([, stored]) => {
    expect(fromPayload(toPayload(stored))).toEqual(stored);
    expect(fromFields(fields({ p: toPayload(stored) }))).toEqual(stored);
  });

  it('is read with the value that settling wrote, and without one that is not readable', () => {
    const stored = { kind: 'string', bytes: ALL_BYTES, age: 19 } as const;
    const of = (v: string | Buffer) =>
      fromFields(fields({ k: 'k', d: '1', t: '2', s: 'notification', v }))
        .value;

    expect(of(toStored(stored))).toEqual(stored);
    expect(of('h0:{"a":"b:c"}')).toEqual({
      ...{ kind: 'hash', bytes: Buffer.from('{"a":"b:c"}'), age: 0 },
    });
    for (const text of ['', 's', 's19', ':', 'x19:a', 's1.5:a', 's:a'])
      expect(of(text)).toBeUndefined();
  });

  it.for([
    ['', {}],
    ['{', {}],
    ['null', {}],
    ['[]', {}],
    ['"text"', {}],
    ['{"a":"2","b":1.5,"c":null}', {}],
    ['{"a":"2","b":3}', { b: 3 }],
  ] as const)('counts no run where a note is not readable: %s', ([text, b]) => {
    const runs = RunCounts.fromText(text);
    expect(runs).toEqual(RunCounts.from(b));
    expect(runs.isEmpty).toBe(Object.keys(b).length === 0);
  });

  it('has one id, whatever became of it', () => {
    expect(eventId(event())).toBe('device:42@1000');
    expect(eventId(event({ tries: 4, handler: 'x', detected: 9 }))).toBe(
      'device:42@1000',
    );
    expect(eventId(event({ deadline: undefined }))).toBe('device:42@1002');
  });

  it('has an id of its own for each key and each deadline', () => {
    const keys = [
      'a',
      'A',
      '',
      'é',
      Buffer.from([0xff]),
      Buffer.from([0xfe]),
      Buffer.from([0xef, 0xbf, 0xbd]),
      ALL_BYTES,
    ].map((key) => Buffer.from(key as string));
    const ids = keys.flatMap((redisKey) => [
      eventId(event({ redisKey })),
      eventId(event({ redisKey, deadline: 1_001 })),
    ]);
    expect(new Set(ids).size).toBe(2 * keys.length);
  });
});
