import type { LoggerService } from '@nestjs/common';

export interface LogLine {
  readonly level: 'log' | 'error' | 'warn' | 'debug' | 'verbose' | 'fatal';
  readonly text: string;
  /** The name of the logger, or the stack of an error where Nest hands one over. */
  readonly rest: readonly unknown[];
}

/** A logger that keeps its lines, for Nest and for the parts below it. */
export class LogBook implements LoggerService {
  readonly lines: LogLine[] = [];

  log = (text: unknown, ...rest: unknown[]) => this.#add('log', text, rest);
  error = (text: unknown, ...rest: unknown[]) => this.#add('error', text, rest);
  warn = (text: unknown, ...rest: unknown[]) => this.#add('warn', text, rest);
  debug = (text: unknown, ...rest: unknown[]) => this.#add('debug', text, rest);

  /** The texts of some level that contain the part. */
  texts(level: LogLine['level'], part = ''): string[] {
    return this.lines
      .filter((line) => line.level === level && line.text.includes(part))
      .map((line) => line.text);
  }

  /** All that was ever written, in one text. */
  get everything(): string {
    return this.lines
      .map(({ level, text, rest }) => [level, text, ...rest].join(' '))
      .join('\n');
  }

  #add(level: LogLine['level'], text: unknown, rest: unknown[]): void {
    this.lines.push({ level, text: String(text), rest });
  }
}
