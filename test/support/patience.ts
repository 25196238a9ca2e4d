/**
 * Ms that a test waits for what must come. A test that passes never waits so long; one on a machine
 * that is busy with other work may. Nothing is said about how fast anything is.
 */
export const PATIENCE_MS = 90_000;
