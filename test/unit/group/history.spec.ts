import { describe, expect, it } from 'vitest';
import {
  type Handling,
  History,
  NOTHING,
  names,
} from '../../support/group/history.js';

const T = 1_000_000;

const run = (key: string, more: Partial<Handling> = {}): Handling => ({
  ...{ key, id: `${key}@${T}`, attempt: 1, source: 'notification' },
  ...{ deadline: T, lateness: 1, process: 1, at: T + 5, ended: true },
  ...more,
});

describe('the history checker', () => {
  it('finds nothing wrong with one run for each life that expired', () => {
    const history = new History();
    for (const key of names('k', 3)) {
      history.set(key, T);
      history.handled(run(key));
    }
    history.set('deleted', T);
    history.ended('deleted');

    expect(history.check({ lateness: 10 })).toEqual(NOTHING);
    expect(history.expected).toBe(3);
    expect(history.counts).toEqual({ handled: 3, redelivered: 0 });
  });

  it('finds what is missing: never run, or never to the end', () => {
    const history = new History();
    history.set('never', T);
    history.set('killed', T);
    history.handled(run('killed', { ended: false }));

    expect(history.check().missing).toEqual(['never#1', 'killed#1']);
    expect(history.check({ must: 'begin' }).missing).toEqual(['never#1']);
  });

  it('finds the life that is missing between two that are not', () => {
    const history = new History();
    for (const deadline of [T, T + 1_000, T + 2_000])
      history.set('k', deadline);
    for (const deadline of [T, T + 2_000])
      history.handled(
        run('k', { deadline, id: `k@${deadline}`, at: deadline + 5 }),
      );

    expect(history.check()).toEqual({ ...NOTHING, missing: ['k#2'] });
  });

  it.for(['deleted', 'persisted', 'lost'] as const)(
    'finds a run for a key that was %s',
    (end) => {
      const history = new History();
      history.set('k', T);
      history.ended('k', end);
      history.handled(run('k'));

      expect(history.check().false).toEqual([
        `k (id k@${T}, attempt 1, process 1, notification, noticed after 1 ms and run after 5 ms): was ${end}`,
      ]);
    },
  );

  it('finds a run for a key that nobody set, or for a deadline that it never had', () => {
    const history = new History();
    history.handled(run('unknown'));
    history.set('k', T);
    history.handled(run('k', { deadline: T + 500, at: T + 600 }));

    expect(history.check().false).toHaveLength(2);
    expect(history.check().missing).toEqual(['k#1']);
  });

  it('finds a run before the deadline that a renewal moved', () => {
    const history = new History();
    history.set('k', T);
    history.renewed('k', T + 1_000);
    history.handled(run('k', { at: T + 5 }));
    expect(history.check().false).toHaveLength(1);

    const sound = new History();
    sound.set('k', T);
    sound.renewed('k', T + 1_000);
    sound.handled(run('k', { deadline: T + 1_000, at: T + 1_005 }));
    expect(sound.check()).toEqual(NOTHING);
  });

  it('finds a run before the grace was over, or for a key that was back in time', () => {
    const grace = 60_000;
    const now = Date.now();
    const told = (deadline: number, at: number) =>
      run('k', { deadline, id: `k@${deadline}`, at });
    const early = new History();
    early.set('k', now);
    early.handled(told(now, now + grace - 1));
    expect(early.check({ grace }).false).toHaveLength(1);

    const back = new History();
    back.set('k', now);
    back.returned('k', grace, now + 5_000);
    back.handled(told(now, now + grace));
    expect(back.check({ grace }).false).toHaveLength(1);
    back.handled(told(now + 5_000, now + 5_000 + grace));
    expect(back.check({ grace }).twice).not.toEqual([]);

    const stays = new History();
    stays.set('k', now);
    stays.returned('k', grace);
    expect(stays.check({ grace })).toEqual(NOTHING);
    stays.handled(told(now, now + grace));
    expect(stays.check({ grace }).false).toHaveLength(1);
    expect(stays.late).toBe(0);

    const late = new History();
    late.set('k', T);
    late.returned('k', grace);
    expect(late.check({ grace })).toEqual(NOTHING);
    late.handled(run('k', { at: T + grace }));
    expect(late.check({ grace })).toEqual(NOTHING);
    expect(late.late).toBe(1);
  });

  it('finds a second run that is no redelivery, and accepts one that is', () => {
    const twice = new History();
    twice.set('k', T);
    twice.handled(run('k'));
    twice.handled(run('k', { process: 2 }));
    expect(twice.check().twice).toHaveLength(1);
    expect(twice.counts).toEqual({ handled: 1, redelivered: 1 });

    const otherId = new History();
    otherId.set('k', T);
    otherId.handled(run('k'));
    otherId.handled(run('k', { attempt: 2, id: `k@${T + 1}` }));
    expect(otherId.check().twice).toHaveLength(1);

    const flagged = new History();
    flagged.set('k', T);
    flagged.handled(run('k', { ended: false }));
    flagged.handled(run('k', { attempt: 2, process: 2 }));
    expect(flagged.check()).toEqual(NOTHING);
  });

  it('finds a second run that knows no deadline', () => {
    const history = new History();
    history.set('k', T);
    history.handled(run('k'));
    const { deadline: _, ...rest } = run('k', { id: `k@${T + 3}` });
    history.handled(rest);

    expect(history.check().twice).toHaveLength(2);
  });

  it('finds a run that came too late', () => {
    const history = new History();
    history.set('k', T);
    history.handled(run('k', { at: T + 500 }));

    expect(history.check({ lateness: 499 }).late).toEqual(['k#1: 500 ms']);
    expect(history.check({ lateness: 500 })).toEqual(NOTHING);
  });

  it('counts the runs of each process', () => {
    const history = new History();
    history.handled(run('a'));
    history.handled(run('b', { process: 2 }));
    history.handled(run('c', { process: 2 }));

    expect([...history.byProcess]).toEqual([
      ['1', 1],
      ['2', 2],
    ]);
  });
});
