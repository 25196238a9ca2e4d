const UNITS: readonly [limitMs: number, unitMs: number, name: string][] = [
  [1_000, 1, 'ms'],
  [60_000, 1_000, 's'],
  [3_600_000, 60_000, 'min'],
  [172_800_000, 3_600_000, 'h'],
  [Infinity, 86_400_000, 'd'],
];

/** A time for people: '12 ms', '3.4 s', '5 min'. */
export function duration(ms: number): string {
  const [, unitMs, name] = UNITS.find(([limitMs]) => ms < limitMs)!;
  const amount = ms / unitMs;
  const isRough = amount >= 10 || unitMs === 1;
  return `${isRough ? Math.round(amount) : Number(amount.toFixed(1))} ${name}`;
}
