import assert from "node:assert/strict";
import fc from "fast-check";
import { openLibc } from "../platform/linux/libc.ts";
import {
  addInode,
  createInodes,
  dropInode,
  findInode,
  Flag,
  hasName,
  isLive,
  isUnused,
  loseName,
  nameOf,
  pathOf,
  setName,
} from "./inodes.ts";

const libc = openLibc();

function handle(n: number): Uint32Array {
  return Uint32Array.of(8, 1, n, n * 7 + 1, 0, 0, 0, 0);
}

Deno.test("The table finds exactly the inodes that were added and not dropped", () => {
  const step = fc.record({ add: fc.boolean(), n: fc.integer({ min: 0, max: 400 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const t = createInodes(100);
      const model = new Map<number, number>();
      for (const { add, n } of steps) {
        const known = model.get(n);
        assert.equal(findInode(t, handle(n), 0, 0), known ?? 0);
        if (add && known === undefined) {
          model.set(n, addInode(t, handle(n), 0, 0, 0, Flag.regular));
        } else if (!add && known !== undefined) {
          dropInode(t, libc, known, true);
          model.delete(n);
        }
      }
      assert.equal(t.live, model.size);
      assert.equal(new Set(model.values()).size, model.size);
      for (const [n, index] of model) {
        assert.equal(findInode(t, handle(n), 0, 0), index);
        assert.ok(isLive(t, index));
      }
    }),
  );
});

Deno.test("The same handle on another device is another inode", () => {
  const t = createInodes(100);
  const a = addInode(t, handle(1), 0, 0, 0, Flag.regular);
  const b = addInode(t, handle(1), 0, 1, 0, Flag.regular);
  assert.notEqual(a, b);
  assert.equal(findInode(t, handle(1), 0, 0), a);
  assert.equal(findInode(t, handle(1), 0, 1), b);
});

Deno.test("The peer's numbering is kept, however sparse", () => {
  const t = createInodes(100);
  for (const n of [5, 70_000, 12]) addInode(t, handle(n), 0, 0, 0, Flag.regular, n);
  for (const n of [5, 70_000, 12]) assert.equal(findInode(t, handle(n), 0, 0), n);
  assert.ok(!isLive(t, 6));
});

Deno.test("Names survive growth and compaction, and paths follow renames", () => {
  const t = createInodes(100);
  const encoder = new TextEncoder();
  const name = (index: number, parent: number, text: string) => {
    const bytes = encoder.encode(text);
    setName(t, index, parent, bytes, 0, bytes.length);
  };
  addInode(t, handle(0), 0, 0, 0, Flag.directory, 1);
  t.roots = 1;
  const dir = addInode(t, handle(1), 0, 0, 0, Flag.directory);
  name(dir, 1, "directory");
  const files: number[] = [];
  for (let i = 0; i < 5000; i++) {
    const index = addInode(t, handle(10 + i), 0, 0, 0, Flag.regular);
    name(index, dir, `file-${i}-${"x".repeat(i % 50)}`);
    files.push(index);
  }
  for (let round = 0; round < 20; round++) {
    for (const [i, index] of files.entries()) name(index, dir, `renamed-${round}-${i}`);
  }
  assert.equal(pathOf(t, files[4321]), "directory/renamed-19-4321");
  name(dir, 1, "moved");
  assert.equal(pathOf(t, files[7]), "moved/renamed-19-7");
  assert.equal(nameOf(t, dir), "moved");
  const bytes = encoder.encode("renamed-19-7");
  assert.ok(hasName(t, files[7], dir, bytes, 0, bytes.length));
  assert.ok(!hasName(t, files[8], dir, bytes, 0, bytes.length));
  assert.ok(t.names.length < 4 << 20, "dead names are taken back");
});

Deno.test("A directory stays known as long as a child's recorded name is in it", () => {
  const t = createInodes(100);
  addInode(t, handle(0), 0, 0, 0, Flag.directory, 1);
  t.roots = 1;
  const dir = addInode(t, handle(1), 0, 0, 0, Flag.directory);
  const file = addInode(t, handle(2), 0, 0, 0, Flag.regular);
  const bytes = new TextEncoder().encode("f");
  setName(t, file, dir, bytes, 0, 1);
  assert.ok(!isUnused(t, dir));
  assert.ok(isUnused(t, file));
  loseName(t, file);
  assert.ok(isUnused(t, dir));
  assert.ok((t.flags[file] & Flag.nameless) !== 0);
});
