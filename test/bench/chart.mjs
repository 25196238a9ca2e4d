/** The lateness as a picture: a panel for each number of other keys, a line for each contender. */
import * as echarts from 'echarts';
import { duration } from './report-texts.mjs';
import { labels } from './report.mjs';

/** @typedef {import('./results.mjs').LatenessRun} LatenessRun */

const LOAD = 'spread';
const WIDTH = 880;
const PANEL = { left: 58, right: 24, top: 104, height: 108, gap: 46 };
/** ms */
const AXIS = { min: 1, max: 60_000 };

/** Opaque, and dark enough on white, so that it reads the same on a dark page. */
const colors = {
  library: '#0a7a50',
  bullmq: '#2f5fd0',
  'by-hand': '#c0410f',
  text: '#1f2328',
  quiet: '#59636e',
  line: '#e3e6ea',
};
/** Single quotes: echarts writes it into an attribute as it is. */
const font =
  "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif";

/** @param {number} ms */
const onAxis = (ms) => Math.min(AXIS.max, Math.max(AXIS.min, ms));

/**
 * From nothing to the last one that was handled; to the right end when some never were.
 *
 * @param {LatenessRun} run
 * @returns {[number, number][]}
 */
function points({ curve, handled, expected }) {
  const first = curve[0];
  const line = curve.map(
    ([ms, share]) => /** @type {[number, number]} */ ([onAxis(ms), share]),
  );
  if (first) line.unshift([onAxis(first[0]), 0]);
  if (handled < expected) line.push([AXIS.max, handled / expected]);
  return line;
}

/**
 * Where the label stands: to the right of the line's foot; of its head where others may be in the
 * way; above a line that never rises.
 *
 * @param {LatenessRun} run
 */
function label(run) {
  const { contender, handled, expected, p99 } = run;
  const name = labels[contender];
  const share = handled / expected;
  if (share < 0.5) {
    return {
      at: [AXIS.max, share],
      align: /** @type {const} */ ('right'),
      offset: [-4, -13],
      text: `{name|${name}}  {more|${handled.toLocaleString('en')} of ${expected.toLocaleString('en')} within a minute of the last deadline}`,
    };
  }
  const head = contender !== 'library';
  const [right = AXIS.min] =
    points(run).find(([, reached]) => reached >= (head ? 0.99 : 0.5)) ?? [];
  return {
    at: [right, head ? 0.76 : 0.3],
    align: /** @type {const} */ ('left'),
    offset: [9, 0],
    text: `{name|${name}}\n{more|99 % within ${duration(p99)}}`,
  };
}

/**
 * @param {LatenessRun} run
 * @param {number} panel
 */
function seriesOf(run, panel) {
  const color = colors[run.contender];
  const { at, align, offset, text } = label(run);
  const axes = { xAxisIndex: panel, yAxisIndex: panel, silent: true };
  return [
    /** @type {const} */ ({
      ...axes,
      type: 'line',
      step: 'end',
      symbol: 'none',
      data: points(run),
      lineStyle: { width: 2.5, color },
    }),
    /** @type {const} */ ({
      ...axes,
      type: 'scatter',
      symbolSize: 0,
      itemStyle: { opacity: 1 },
      data: [at],
      z: 5,
      label: {
        show: true,
        position: align === 'left' ? 'right' : 'left',
        align,
        offset,
        verticalAlign: 'middle',
        textBorderColor: '#ffffff',
        textBorderWidth: 3,
        formatter: text,
        rich: {
          name: { color, fontWeight: 600, fontSize: 13, lineHeight: 17 },
          more: { color: colors.quiet, fontSize: 12, lineHeight: 16 },
        },
      },
    }),
  ];
}

/**
 * @param {NonNullable<import('./results.mjs').Results['lateness']>} part
 * @returns {string} SVG
 */
export function chart({ result, environment }) {
  const runs = result.filter(({ load }) => load === LOAD);
  const panels = [...new Set(runs.map(({ others }) => others))];
  const topOf = (/** @type {number} */ panel) =>
    PANEL.top + panel * (PANEL.height + PANEL.gap);
  const height = topOf(panels.length) - PANEL.gap + 58;
  const title = "How late a handler runs after its key's deadline";
  const { expected = 0, over = 0 } = runs[0] ?? {};

  const picture = echarts.init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: WIDTH,
    height,
  });
  picture.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    textStyle: { fontFamily: font },
    title: [
      {
        text: title,
        subtext: `Share of ${expected.toLocaleString('en')} keys, due one after the other over ${over / 1_000} s, that were handled within so much time. Redis ${environment.redis}, default settings`,
        left: PANEL.left - 6,
        top: 10,
        itemGap: 7,
        textStyle: { color: colors.text, fontSize: 19, fontWeight: 600 },
        subtextStyle: { color: colors.quiet, fontSize: 13 },
      },
      ...panels.map((others, i) => ({
        text: `${others === 0 ? 'No' : others.toLocaleString('en')} other keys with a time to live`,
        left: PANEL.left - 6,
        top: topOf(i) - 28,
        textStyle: { color: colors.text, fontSize: 14, fontWeight: 600 },
      })),
    ],
    grid: panels.map((_, i) => ({
      left: PANEL.left,
      right: PANEL.right,
      top: topOf(i),
      height: PANEL.height,
    })),
    xAxis: panels.map((_, i) => {
      const last = i === panels.length - 1;
      return {
        gridIndex: i,
        type: 'log',
        ...AXIS,
        name: last ? 'lateness, logarithmic' : '',
        nameLocation: 'end',
        nameTextStyle: {
          color: colors.quiet,
          fontSize: 12,
          align: 'right',
          verticalAlign: 'top',
          padding: [26, 0, 0, 0],
        },
        axisLine: { lineStyle: { color: colors.quiet } },
        axisTick: { show: last },
        axisLabel: {
          show: last,
          color: colors.quiet,
          fontSize: 12,
          formatter: (/** @type {number} */ ms) => duration(ms),
        },
        splitLine: { show: true, lineStyle: { color: colors.line } },
      };
    }),
    yAxis: panels.map((_, i) => ({
      gridIndex: i,
      type: 'value',
      min: 0,
      max: 1,
      interval: 0.5,
      axisLabel: {
        color: colors.quiet,
        fontSize: 12,
        formatter: (/** @type {number} */ share) => `${share * 100} %`,
      },
      splitLine: { lineStyle: { color: colors.line } },
    })),
    series: panels.flatMap((others, i) =>
      runs
        .filter((run) => run.others === others)
        .flatMap((run) => seriesOf(run, i)),
    ),
  });
  const svg = picture.renderToSVGString();
  // Else its timers keep the process alive.
  picture.dispose();
  return svg.replace('<svg ', `<svg role="img" aria-label="${title}" `);
}
