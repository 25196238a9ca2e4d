import { vi } from 'vitest';

// Spec files share a process here. What was loaded while the clock was a fake one keeps that clock for ever.
vi.useFakeTimers = () => {
  throw new Error(
    'A spec that sets the clock needs a process to itself: add it to ALONE in vitest.config.ts.',
  );
};
