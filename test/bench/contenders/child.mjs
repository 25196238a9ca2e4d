/** The part that all contenders share: keeps the ledger and answers questions. */

/**
 * @typedef {object} Program
 * @property {unknown} [started] what to tell of the start
 * @property {() => unknown} [status]
 * @property {() => Promise<void>} stop
 */

/**
 * @param {(options: import('../contender.mjs').ContenderOptions, handled: (n: number) => void) => Promise<Program>} begin
 *   starts the program, which calls `handled` for each number
 */
export function serve(begin) {
  const options = /** @type {import('../contender.mjs').ContenderOptions} */ (
    JSON.parse(process.argv[2] ?? '')
  );
  const at = new Float64Array(options.expected);
  const times = new Uint32Array(options.expected);
  let handled = 0;
  /** @param {number} n */
  const note = (n) => {
    const now = Date.now();
    const before = times[n] ?? 0;
    times[n] = before + 1;
    if (before > 0) return;
    at[n] = now;
    handled++;
  };
  /** @type {Program | undefined} */
  let program;

  const sample = () => {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
    return {
      cpu: (user + system) / 1e6,
      rss,
      maxRss: process.resourceUsage().maxRSS * 1_024,
      heap: heapUsed + arrayBuffers,
      handled,
    };
  };
  /** @type {Record<string, () => unknown>} */
  const answers = {
    start: async () => {
      program = await begin(options, note);
      return program.started;
    },
    sample,
    sampleClean: () => {
      globalThis.gc?.();
      return sample();
    },
    handled: () => ({ at, times }),
    status: () => program?.status?.(),
    stop: async () => {
      await program?.stop();
      process.disconnect();
    },
  };

  /** @param {string} question */
  const answer = async (question) => {
    try {
      return { value: await answers[question]?.() };
    } catch (error) {
      return { error: String(error) };
    }
  };
  process.on('message', (/** @type {any} */ { id, question }) => {
    void answer(question).then((reply) => {
      if (process.connected) process.send?.({ id, ...reply });
    });
  });
}

/** @param {string} key `due:<number>` */
export const numberOf = (key) => Number(key.slice(4));
