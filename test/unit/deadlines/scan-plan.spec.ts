import { describe, expect, it } from 'vitest';
import { planScan } from '../../../lib/deadlines/scan-plan.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';

/** A plan as texts. */
function plan(...patterns: string[]) {
  const { literals, pass } = planScan(patterns.map((p) => new RedisGlob(p)));
  return {
    literals: literals.map(String),
    ...(pass && {
      match: pass.match,
      filters: pass.filters
        .map(
          ({ head, tail, exact }) =>
            String(head) + (exact ? '*' : '~') + String(tail),
        )
        .toSorted(),
    }),
  };
}

describe('planScan', () => {
  it('asks for literals by their names, and makes no pass for them', () => {
    expect(plan('a', 'b\\*c', 'd\\')).toEqual({
      literals: ['a', 'b*c', 'd\\'],
    });
    expect(plan()).toEqual({ literals: [] });
  });

  it('leaves one pattern to Redis, whatever it is', () => {
    for (const pattern of ['device:*', 'a?[b-d]*', '*'])
      expect(plan(pattern, 'one')).toEqual({
        literals: ['one'],
        match: pattern,
        filters: [],
      });
  });

  it('makes one pass for several, over what all of them begin with', () => {
    expect(plan('app:user:*', 'app:device:*:on', 'app:*', 'lock')).toEqual({
      literals: ['lock'],
      match: 'app:*',
      filters: ['app:*'],
    });
    expect(plan('app:user:*', 'app:device:*:on')).toEqual({
      literals: [],
      match: 'app:*',
      filters: ['app:device:*:on', 'app:user:*'],
    });
    expect(plan('user:*', 'device:*')).toEqual({
      literals: [],
      match: '*',
      filters: ['device:*', 'user:*'],
    });
  });

  it('leaves to the client what beginning and end do not tell', () => {
    expect(plan('a:*:b:*', 'a:?', 'a:[x]y', 'a:c*').filters).toEqual([
      'a:c*',
      'a:~',
      'a:~',
      'a:~y',
    ]);
  });

  it('takes what all begin with literally, and in whole characters', () => {
    expect(plan('a\\*\\[:x*', 'a\\*\\[:y*').match).toBe('a\\*\\[:*');
    // They share the first byte of two.
    expect(plan('kä*', 'kö*').match).toBe('k*');
    expect(plan('😀*', '😁*').match).toBe('*');
  });

  it('gives the script no more filters than it can read for each page', () => {
    const many = Array.from({ length: 1_001 }, (_, i) => `app:${i}:*`);
    expect(plan(...many.slice(1)).filters).toHaveLength(1_000);
    expect(plan(...many)).toMatchObject({ match: 'app:*', filters: ['app:~'] });
  });
});
