import { readFileSync } from 'node:fs';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { exposeExpiry } from '../../../sample/device-presence/src/metrics.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, handler } from '../../support/group/app.js';
import { useServer } from '../../support/servers.js';

interface Panel {
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number };
  readonly targets: readonly { readonly expr: string }[];
}

const { panels } = JSON.parse(
  readFileSync(
    new URL(
      '../../../sample/device-presence/grafana-dashboard.json',
      import.meta.url,
    ),
    'utf8',
  ),
) as { panels: readonly Panel[] };

/** Each series of a scrape: its name, its labels, and its value. */
const seriesOf = (text: string) =>
  [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(
    ([, name = '', labels = '', value]) => ({
      name,
      labels: Object.fromEntries(
        [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, k, v]) => [k!, v!]),
      ),
      value: Number(value),
    }),
  );

describe('the Prometheus recipe', () => {
  const server = useServer();

  /** What is scraped after a group has handled two expiries, and has given up a third. */
  async function scrape() {
    const { subscriber } = await groupApp(server, [
      handler(
        'device:*',
        ({ key }) => {
          if (key === 'device:bad') throw new Error('no');
        },
        { retry: { attempts: 1 } },
      ),
    ]);
    const registry = new Registry();
    exposeExpiry(registry, subscriber);
    for (const name of ['1', '2', 'bad'])
      await server.redis.set(`device:${name}`, '', 'PX', 150);
    await eventually(() =>
      expect(subscriber.status()).toMatchObject({
        counters: { handled: 2, deadLettered: 1 },
        groups: [{ dead: 1, leads: true }],
      }),
    );
    // The second scrape is no sum of two.
    await registry.metrics();
    const series = seriesOf(await registry.metrics());
    return { series, status: subscriber.status() };
  }

  it('tells what status() tells', async () => {
    const { series, status } = await scrape();
    const value = (name: string, labels: Record<string, string> = {}) =>
      series.find(
        (one) =>
          one.name === `redis_expiry_${name}` &&
          Object.entries(labels).every(([k, v]) => one.labels[k] === v),
      )?.value;

    expect(value('events_total', { outcome: 'handled' })).toBe(2);
    expect(value('backlog', { group: 'presence', state: 'dead' })).toBe(1);
    expect(value('leading', { group: 'presence' })).toBe(1);
    expect(value('nodes', { state: 'listening' })).toBe(1);
    expect(value('gaps_total')).toBe(0);
    const { histogram, max } = status.lateness;
    expect(histogram.count).toBe(3);
    expect(value('lateness_seconds_count')).toBe(3);
    expect(value('lateness_seconds_bucket', { le: '+Inf' })).toBe(3);
    expect(value('lateness_seconds_sum')).toBeCloseTo(histogram.sum, 9);
    // The buckets are cumulative, and all events are in the one of the latest.
    const upper = histogram.boundaries.find((bound) => max! <= bound * 1_000)!;
    expect(value('lateness_seconds_bucket', { le: String(upper) })).toBe(3);
  });

  it('has what each query of the dashboard asks for', async () => {
    const { series } = await scrape();
    const places = panels.map(({ gridPos: { x, y } }) => `${x}/${y}`);
    expect(new Set(places).size).toBe(panels.length);

    for (const { title, targets } of panels)
      for (const { expr } of targets) {
        const names = [...expr.matchAll(/redis_expiry_\w+/g)].map(([n]) => n);
        expect(names, `${title}: ${expr}`).not.toEqual([]);
        const grouped = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(
          ([, labels = '']) => labels.split(/,\s*/),
        );
        for (const name of names) {
          const found = series.filter((one) => one.name === name);
          const selected = found.filter((one) =>
            matches(one.labels, expr, name),
          );
          expect(selected, `${title}: ${expr}`).not.toEqual([]);
          for (const { labels } of selected)
            expect(Object.keys(labels), `${title}: ${expr}`).toEqual(
              expect.arrayContaining(grouped),
            );
        }
      }
    // What is scraped is shown.
    const shown = JSON.stringify(panels);
    const all = new Set(series.map(({ name }) => name));
    expect([...all].filter((name) => !shown.includes(name))).toEqual([]);
  });
});

/** Whether a series is selected by what stands in braces after its name. */
function matches(
  labels: Record<string, string>,
  expr: string,
  name: string,
): boolean {
  const [, selectors = ''] =
    new RegExp(`${name}(?:\\{([^}]*)\\})?`).exec(expr) ?? [];
  return [...selectors.matchAll(/(\w+)(=~|!=|=)"([^"]*)"/g)].every(
    ([, label = '', operator, value = '']) => {
      const actual = labels[label];
      if (actual === undefined) return false;
      if (operator === '=~') return new RegExp(`^(?:${value})$`).test(actual);
      return (actual === value) === (operator === '=');
    },
  );
}
