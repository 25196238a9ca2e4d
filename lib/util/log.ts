/** Where the parts below the Nest skin write their log lines; Nest's `Logger` is one. */
export interface Log {
  log(message: string): void;
  warn(message: string): void;
  error(message: string, stack?: string): void;
  debug(message: string): void;
}
