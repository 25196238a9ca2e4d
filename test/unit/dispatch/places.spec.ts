import { describe, expect, it } from 'vitest';
import { type Grant, Places } from '../../../lib/dispatch/places.js';
import { turns } from '../../support/eventually.js';
import { Random } from '../../support/random.js';

/** Places of a dispatcher that runs nothing by itself. */
class Scene {
  readonly dispatcher = { free: 0 };
  readonly places = new Places(this.dispatcher);
  readonly abort = new AbortController();

  constructor(free: number, readers: number) {
    this.dispatcher.free = free;
    for (let i = 0; i < readers; i++) this.places.join();
  }

  take({ most = 1_000, isEager = false } = {}): Promise<Grant | undefined> {
    return this.places.take({ most, isEager, signal: this.abort.signal });
  }

  /** What so many readers get that ask one after the other. */
  async each(readers: number): Promise<(Grant | undefined)[]> {
    const grants = [];
    for (let i = 0; i < readers; i++) grants.push(await this.take());
    return grants;
  }
}

describe('Places', () => {
  it('gives a single reader half of them to wait with, and all that are free when there is more to read', async () => {
    const scene = new Scene(100, 1);
    const first = await scene.take();
    expect(first).toEqual({ places: 50, mayWait: true });
    scene.places.ended(first!, 50);
    expect(await scene.take({ isEager: true })).toEqual({
      places: 50,
      mayWait: false,
    });
  });

  it('lets a single reader wait even with a single place', async () => {
    expect(await new Scene(1, 1).take()).toEqual({ places: 1, mayWait: true });
  });

  it.for([2, 3, 7, 50])(
    'lets %i readers that wait hold half of them together at most, and each some',
    async (readers) => {
      const scene = new Scene(100, readers);
      const grants = await scene.each(readers);

      expect(grants.every((grant) => grant!.mayWait)).toBe(true);
      const held = grants.reduce((sum, grant) => sum + grant!.places, 0);
      expect(held).toBeLessThanOrEqual(50);
      expect(Math.min(...grants.map((grant) => grant!.places))).toBeGreaterThan(
        0,
      );
      const eager = await scene.take({ isEager: true });
      expect(eager!.places).toBeGreaterThanOrEqual(25);
    },
  );

  it('lets nobody wait where there are too few for each', async () => {
    const scene = new Scene(4, 3);
    const [first, second] = await scene.each(2);
    expect(first).toEqual({ places: 2, mayWait: false });
    expect(second).toEqual({ places: 1, mayWait: false });
  });

  it('serves whoever finds none free in the order in which they asked', async () => {
    const scene = new Scene(1, 3);
    const served: string[] = [];
    const ask = (name: string) =>
      scene.take({ isEager: true }).then((grant) => {
        served.push(name);
        return grant!;
      });
    const first = await ask('a');
    const waiting = [ask('b'), ask('c'), ask('a again')];
    await turns();
    expect(served).toEqual(['a']);
    scene.places.ended(first, 0);
    for (const next of waiting) scene.places.ended(await next, 0);
    expect(served).toEqual(['a', 'b', 'c', 'a again']);
  });

  it('notices places that got free without a word', async () => {
    const scene = new Scene(0, 1);
    const waiting = scene.take();
    scene.dispatcher.free = 1;
    expect(await waiting).toEqual({ places: 1, mayWait: true });
  });

  it('lets go who needs none any more, and passes on to the next', async () => {
    const scene = new Scene(0, 1);
    const abort = new AbortController();
    const given = { most: 1, isEager: false, signal: abort.signal };
    const gone = scene.places.take(given);
    const next = scene.take();
    abort.abort();
    expect(await gone).toBeUndefined();
    expect(await scene.places.take(given)).toBeUndefined();
    scene.dispatcher.free = 1;
    expect(await next).toEqual({ places: 1, mayWait: true });
  });

  it('gives no place twice, whatever readers and handlers do', async () => {
    const CONCURRENCY = 20;
    const random = new Random(7);
    const scene = new Scene(CONCURRENCY, 4);
    const { dispatcher, places } = scene;
    let [held, running] = [0, 0];
    const run = async (): Promise<void> => {
      for (let i = 0; i < 300; i++) {
        const grant = (await scene.take({
          most: 1 + random.below(30),
          isEager: random.below(2) === 0,
        }))!;
        held += grant.places;
        expect(held + running).toBeLessThanOrEqual(CONCURRENCY);
        await turns(random.below(3));
        const used = random.below(grant.places + 1);
        held -= grant.places - used;
        places.ended(grant, used);
        for (let n = 0; n < used; n++) {
          // Its handler begins, and then the place that was held for it is given back.
          running++;
          held--;
          dispatcher.free--;
          places.release(1);
          void turns(1 + random.below(4)).then(() => {
            running--;
            dispatcher.free++;
            places.look();
          });
        }
      }
    };
    await Promise.all([run(), run(), run(), run()]);
    await turns(5);
    expect({ held, running, free: dispatcher.free }).toEqual({
      ...{ held: 0, running: 0, free: CONCURRENCY },
    });
  });
});
