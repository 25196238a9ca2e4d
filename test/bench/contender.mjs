/** A program that handles expiries, in a process of its own, and how to ask it for its figures. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/**
 * What a contender is told when it starts. It handles what is called `due:<number>`.
 *
 * @typedef {object} ContenderOptions
 * @property {number} port of the server
 * @property {boolean} [cluster] the library: the server is a node of a Cluster
 * @property {number} expected numbers are below it
 * @property {string} [group] the library: of which group it is an instance; else it hears everything
 * @property {number} [concurrency] handlers at once; 100 unless told
 * @property {'text'} [value] the library: its handler asks for values; the status tells how many came, as `valued`
 */

/**
 * @typedef {object} Sample
 * @property {number} cpu seconds of the process so far
 * @property {number} rss bytes
 * @property {number} maxRss the most so far
 * @property {number} heap bytes of JavaScript objects and typed arrays
 * @property {number} handled different numbers so far
 */

/**
 * @typedef {object} Handled
 * @property {Float64Array} at Date.now() when a number was handled first; 0: never
 * @property {Uint32Array} times how often it was handled
 */

/** How long a child may take to answer. */
const PATIENCE = 120_000;

export class Contender {
  /** @type {import('node:child_process').ChildProcess} */
  #child;
  #questions = 0;
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();

  /** @param {import('node:child_process').ChildProcess} child */
  constructor(child) {
    this.#child = child;
    child.on('message', (/** @type {any} */ { id, value, error }) => {
      const question = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) question?.resolve(value);
      else question?.reject(new Error(error));
    });
    child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`A contender ended: ${signal ?? `code ${code}`}`));
    });
  }

  /**
   * Resolves when it is ready to handle.
   *
   * @param {'by-hand' | 'library' | 'bullmq'} program
   * @param {ContenderOptions} options
   * @returns {Promise<{ contender: Contender, started: any }>} `started`: what it tells of its start
   */
  static async start(program, options) {
    const child = fork(
      fileURLToPath(new URL(`contenders/${program}.mjs`, import.meta.url)),
      [JSON.stringify(options)],
      {
        serialization: 'advanced',
        execArgv: [
          '--expose-gc',
          ...(process.env.BENCH_NODE_ARGS?.split(' ') ?? []),
        ],
      },
    );
    const contender = new Contender(child);
    const started = await contender.#ask('start');
    return { contender, started };
  }

  /** @param {{ collectGarbage?: boolean }} [options] @returns {Promise<Sample>} */
  sample({ collectGarbage = false } = {}) {
    return this.#ask(collectGarbage ? 'sampleClean' : 'sample');
  }

  /** @returns {Promise<Handled>} */
  handled() {
    return this.#ask('handled');
  }

  /** @returns {Promise<any>} what the program tells of itself */
  status() {
    return this.#ask('status');
  }

  /** Ends it at once, with all that it holds. */
  kill() {
    this.#child.kill('SIGKILL');
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null)
      return;
    const exited = once(this.#child, 'exit');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 15_000);
    this.#ask('stop').catch(() => undefined);
    await exited;
    clearTimeout(timer);
  }

  /**
   * @param {string} question
   * @returns {Promise<any>}
   */
  #ask(question) {
    const id = ++this.#questions;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`No answer to "${question}"`)),
        PATIENCE,
      );
      const done = () => clearTimeout(timer);
      this.#waiting.set(id, {
        resolve: (value) => (done(), resolve(value)),
        reject: (error) => (done(), reject(error)),
      });
      this.#child.send({ id, question }, (error) => {
        if (error) this.#waiting.get(id)?.reject(error);
      });
    });
  }
}
