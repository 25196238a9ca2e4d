import { styleText } from 'node:util';

/** Where a command writes: a terminal, a file or a pipe. */
export interface Sink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

type Format = 'green' | 'yellow' | 'red' | 'dim' | 'bold' | 'cyan';

/** Writes lines and tables: in colours on a terminal, unless NO_COLOR is set, and plainly elsewhere. */
export class Output {
  /** Whether a person reads it. */
  readonly isTerminal: boolean;
  readonly #colours: boolean;

  constructor(
    private readonly sink: Sink,
    env: NodeJS.ProcessEnv = process.env,
  ) {
    this.isTerminal = sink.isTTY === true;
    this.#colours = this.isTerminal && !env['NO_COLOR'];
  }

  line(text = ''): void {
    this.sink.write(`${text}\n`);
  }

  json(value: unknown): void {
    this.line(JSON.stringify(value, null, 2));
  }

  style(format: Format, text: string): string {
    if (!this.#colours) return text;
    // Whether it goes to a terminal is known already; not every Node has this option.
    const options = { validateStream: false };
    return (
      styleText as (format: Format, text: string, options: object) => string
    )(format, text, options);
  }

  /** Columns that line up on a terminal, and tabs in a pipe. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    if (!this.isTerminal) {
      for (const row of [head, ...rows]) this.line(row.join('\t'));
      return;
    }
    const widths = head.map((name, i) =>
      Math.max(name.length, ...rows.map((row) => row[i]!.length)),
    );
    const padded = (row: readonly string[]): string =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd();
    this.line(this.style('bold', padded(head)));
    for (const row of rows) this.line(padded(row));
  }
}

/** A text from Redis on one line, without the control characters that a terminal obeys. */
export const oneLine = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) =>
    JSON.stringify(character)
      .slice(1, -1)
      .replace(/^[^\\]$/, '?'),
  );

/** '1 letter', '2 letters'. */
export const counted = (count: number, name: string): string =>
  `${count} ${name}${count === 1 ? '' : 's'}`;
