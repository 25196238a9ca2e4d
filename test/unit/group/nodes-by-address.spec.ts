import { describe, expect, it } from 'vitest';
import { NodesByAddress } from '../../../lib/group/nodes-by-address.js';

describe('NodesByAddress', () => {
  it('stays small however often nodes come and go, and forgets none that is watched', () => {
    const nodes = new NodesByAddress<{ closed: boolean }>();
    const stays = { closed: false };
    nodes.set('stays', stays);
    for (let i = 0; i < 500; i++) {
      const node = { closed: false };
      nodes.set(`node-${i}`, node);
      node.closed = true;
    }

    expect(nodes.size).toBeLessThan(70);
    expect(nodes.get('stays')).toBe(stays);
  });

  it('remembers those that closed last, however long they were watched', () => {
    const nodes = new NodesByAddress<{ closed: boolean }>();
    const first = { closed: false };
    nodes.set('first', first);
    for (let i = 0; i < 200; i++) nodes.set(`node-${i}`, { closed: true });
    first.closed = true;
    for (let i = 200; i < 230; i++) nodes.set(`node-${i}`, { closed: true });

    expect(nodes.get('first')).toBe(first);
    expect(nodes.has('node-0')).toBe(false);
    expect(nodes.has('node-229')).toBe(true);
  });

  it('counts a node once that comes back to its address', () => {
    const nodes = new NodesByAddress<{ closed: boolean }>();
    nodes.set('other', { closed: true });
    for (let i = 0; i < 200; i++) nodes.set('same', { closed: true });

    expect([...nodes.keys()]).toEqual(['other', 'same']);
  });
});
