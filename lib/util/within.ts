/**
 * Waits for some work, but so many ms at most. Resolves with whether the work was done by then; rejects if
 * the work rejects in time. The work itself goes on, but nobody hears how it ends.
 */
export function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(false), ms);
    work.then(
      () => {
        clearTimeout(timer);
        resolve(true);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
