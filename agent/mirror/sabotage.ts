/**
 * Test builds only (`UNDERSTUDY_BREAK`): ways in which a mirror could break its promises, so that the
 * tests can show that they would notice. See also `ack-early` in `record.ts` and `skip-operation` in the
 * FUSE side's write.
 */
import { F, Op } from "./frames.ts";
import type { Sink } from "./sink.ts";

type Apply = (s: Sink, op: number, at: number) => number;

/** Wraps the sink's application of frames. */
export function sabotageApply(how: string, apply: Apply): Apply {
  if (how !== "reorder-directories") return apply;
  // Writes to the first directory come late: those to the second overtake them.
  const late: { frame: Uint8Array; due: number }[] = [];
  let count = 0;
  return (s, op, at) => {
    count++;
    const index = s.inWords[(at + F.inode) >>> 2];
    if (op === Op.write && s.t.root[index] === 0 && count % 3 === 0) {
      const length = s.inWords[at >>> 2];
      late.push({ frame: s.in.bytes.slice(at, at + length), due: count + 25 });
      return 0;
    }
    const r = apply(s, op, at);
    while (late.length > 0 && late[0].due <= count) {
      const { frame } = late.shift()!;
      const keep = s.in.bytes.slice(at, at + frame.length);
      s.in.bytes.set(frame, at);
      apply(s, Op.write, at);
      s.in.bytes.set(keep, at);
    }
    return r;
  };
}
