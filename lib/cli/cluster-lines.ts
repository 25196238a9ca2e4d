/** One line of CLUSTER NODES. */
export interface ClusterLine {
  readonly host: string;
  readonly port: number;
  readonly isPrimary: boolean;
  /** Other nodes take it for dead, or may soon. */
  readonly isFailing: boolean;
  readonly slots: readonly (readonly [number, number])[];
}

/** Reads the answer to CLUSTER NODES. Nodes whose address nobody knows are left out. */
export function readClusterLines(text: string): ClusterLine[] {
  return text
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [, place = '', flags = '', , , , , , ...ranges] = line
        .trim()
        .split(' ');
      const [, host, port] = /^(.*):(\d+)(?:@|$)/.exec(place) ?? [];
      if (!host || port === '0' || flags.includes('noaddr')) return [];
      return [
        {
          host,
          port: Number(port),
          isPrimary: flags.split(',').includes('master'),
          isFailing: /\bfail\b|fail\?/.test(flags),
          slots: ranges
            .filter((range) => /^\d+(-\d+)?$/.test(range))
            .map((range) => {
              const [from, to = from] = range.split('-').map(Number);
              return [from!, to!] as const;
            }),
        },
      ];
    });
}
