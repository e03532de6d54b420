/**
 * Where a directory behind FUSE cannot behave as ext4 does, whatever the server does: the kernel
 * decides before, or without, asking it. Each line is asserted exactly, so that none can hide another.
 */

/** `write`: every write goes through; `fsync`: the kernel's write-back cache is in use. */
export type Condition = "write" | "fsync";

export interface ForcedDifference {
  check: string;
  plain: string;
  mirror: string;
}

interface Group {
  /** why no FUSE server can avoid it, with the place in the kernel's source */
  reason: string;
  /** default: both */
  only?: Condition;
  /** check → [on ext4, on the mirror] */
  checks: Record<string, [plain: string, mirror: string]>;
}

const groups: Group[] = [];

/** Everything that must be seen as different, exactly so. */
export function forcedDifferences(condition: Condition): ForcedDifference[] {
  return groups.filter(({ only }) => only === undefined || only === condition)
    .flatMap(({ checks }) =>
      Object.entries(checks).map(([check, [plain, mirror]]) => ({ check, plain, mirror }))
    );
}
