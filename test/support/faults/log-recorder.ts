import { Logger, type LoggerService } from '@nestjs/common';

/** One line that the application logged. */
export interface LogLine {
  readonly level: 'log' | 'warn' | 'error' | 'debug';
  readonly context: string;
  readonly text: string;
}

/**
 * Takes what Nest's `Logger` is given instead of printing it. There is one for the process, as Nest
 * has one; applications that run side by side are told apart by their name.
 */
class LogRecorder implements LoggerService {
  readonly lines: LogLine[] = [];

  log = this.#taker('log');
  warn = this.#taker('warn');
  error = this.#taker('error');
  debug = this.#taker('debug');

  #taker(level: LogLine['level']) {
    // The context comes last, after a stack if there is one.
    return (text: string, ...rest: string[]): void => {
      this.lines.push({ level, context: rest.at(-1) ?? '', text });
    };
  }
}

const recorder = new LogRecorder();
Logger.overrideLogger(recorder);

/** For `NestFactory`, which would put its own in its place. */
export const logger: LoggerService = recorder;

/** What was logged under a name, so far. */
export const linesOf = (context: string): LogLine[] =>
  recorder.lines.filter((line) => line.context === context);

/** Forgets what was logged under a name. */
export function forget(context: string): void {
  const kept = recorder.lines.filter((line) => line.context !== context);
  recorder.lines.splice(0, recorder.lines.length, ...kept);
}
