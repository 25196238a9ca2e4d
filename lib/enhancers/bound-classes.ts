import type { Type } from '@nestjs/common';
import {
  EXCEPTION_FILTERS_METADATA,
  GUARDS_METADATA,
  INTERCEPTORS_METADATA,
  PIPES_METADATA,
} from '@nestjs/common/constants.js';
import type { EnhancerKind } from '../engine/module-options.js';

/** The key of what `@UseGuards()` and the like leave behind. */
const KEYS: Record<EnhancerKind, string> = {
  guards: GUARDS_METADATA,
  interceptors: INTERCEPTORS_METADATA,
  pipes: PIPES_METADATA,
  filters: EXCEPTION_FILTERS_METADATA,
};

/** The names of the enhancers that `@UseGuards()` and the like name by class on a method or its class. Nest has to make those. */
export function boundClasses(
  kinds: Iterable<EnhancerKind>,
  type: Type,
  method: object,
): string[] {
  const bound = [...kinds].flatMap((kind) =>
    [type, method].flatMap(
      (target) => (Reflect.getMetadata(KEYS[kind], target) ?? []) as unknown[],
    ),
  );
  const classes = bound.filter((each) => typeof each === 'function');
  return [...new Set(classes.map(({ name }) => name))];
}
