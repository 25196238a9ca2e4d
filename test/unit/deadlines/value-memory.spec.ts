import { describe, expect, it } from 'vitest';
import { ValueMemory } from '../../../lib/deadlines/value-memory.js';

const read = (text: string) =>
  ({ kind: 'string', bytes: Buffer.from(text), age: 5 }) as const;

describe('ValueMemory', () => {
  it('tells a value of the life that it is of, and of no other', () => {
    const memory = new ValueMemory();
    memory.set('k', { deadline: 100, value: read('a') });
    memory.set('none', { deadline: 100, value: undefined });

    expect(memory.of('k', 100)?.bytes.toString()).toBe('a');
    expect(memory.of('k', 101)).toBeUndefined();
    expect(memory.of('other', 100)).toBeUndefined();
    // That it was looked for is known, though there was none.
    expect(memory.knows('none', 100)).toBe(true);
    expect(memory.knows('none', 101)).toBe(false);

    memory.set('k', { deadline: 101, value: read('b') });
    expect(memory.of('k', 100)).toBeUndefined();
    expect(memory.of('k', 101)?.bytes.toString()).toBe('b');
    memory.forget('k');
    memory.forget('k');
    expect(memory.get('k')).toBeUndefined();
    expect(memory.size).toBe(1);
    memory.clear();
    expect(memory.size).toBe(0);
  });

  it('holds so many bytes, and gives up what was read first', () => {
    const memory = new ValueMemory(10_000);
    for (let i = 0; i < 1_000; i++)
      memory.set(`k${i}`, { deadline: i, value: read('x'.repeat(800)) });

    expect(memory.size).toBe(10);
    expect(memory.knows('k999', 999)).toBe(true);
    expect(memory.knows('k989', 989)).toBe(false);
    // The same key again takes no more.
    for (let i = 0; i < 100; i++)
      memory.set('k999', { deadline: i, value: read('x'.repeat(800)) });
    expect(memory.size).toBe(10);
    memory.set('huge', { deadline: 1, value: read('x'.repeat(20_000)) });
    expect(memory.size).toBe(0);
  });

  it('forgets what nobody asked for, some seconds after its deadline', () => {
    const memory = new ValueMemory();
    memory.set('old', { deadline: 1_000, value: read('a') });
    memory.set('young', { deadline: 11_000, value: read('b') });
    expect(memory.size).toBe(2);

    memory.set('new', { deadline: 11_001, value: read('c') });
    expect(memory.knows('old', 1_000)).toBe(false);
    expect(memory.size).toBe(2);
  });
});
