import assert from "node:assert/strict";
import { testWith } from "../lib/requires.ts";
import { withTempDir } from "../lib/temp.ts";
import { compareTrees, type DifferenceKind, formatDifferences } from "./compare.ts";

/** A tree with one of everything; its second copy is the first with all times set alike. */
const tree = `
set -e
umask 022
mkdir dir dir/deep empty
printf 'some bytes' > file
printf 'x' > dir/deep/leaf
ln file dir/hard
ln file second
printf 'alone' > single; ln single single2
ln -s target/of/link link
mkfifo fifo
mknod device c 1 3
mknod block b 7 200
truncate -s 10M sparse; printf 'middle' | dd of=sparse bs=1 seek=5242880 conv=notrunc status=none
setfattr -n user.note -v value file
setfattr -n trusted.note -v value dir
setfacl -m u:1234:r file
setfacl -d -m u:1234:rx dir
printf 'odd' > "$(printf 'not\\377utf8\\nname')"
chown 12:34 dir/deep/leaf
chmod 4755 single
chattr +d file
find . -exec touch -h -d '2020-02-03 04:05:06.123456789' {} +
`;

async function shell(directory: string, script: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("bash", {
    args: ["-c", script],
    cwd: directory,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

const needs = [
  "root",
  "command:setfattr",
  "command:setfacl",
  "command:chattr",
] as const;
const touch = "touch -h -d '2020-02-03 04:05:06.123456789'";

testWith(needs, "Two equal trees show no difference", () =>
  withTempDir(async (directory) => {
    for (const name of ["a", "b"]) {
      await Deno.mkdir(`${directory}/${name}`);
      await shell(`${directory}/${name}`, tree);
    }
    const found = await compareTrees(`${directory}/a`, `${directory}/b`, { sparseTolerance: 0 });
    assert.equal(formatDifferences(found), "");
  }));

const changes: { what: string; script: string; expected: [string, DifferenceKind][] }[] = [
  {
    what: "one byte",
    script: `printf 'some bytEs' > file; ${touch} file`,
    expected: [["dir/hard", "content"], ["file", "content"], ["second", "content"]],
  },
  {
    what: "a size",
    script: `truncate -s 10485761 sparse; ${touch} sparse`,
    expected: [["sparse", "size"]],
  },
  { what: "a missing name", script: `rm link; ${touch} .`, expected: [["link", "missing"]] },
  {
    what: "an additional name",
    script: `: > dir/new; ${touch} dir`,
    expected: [["dir/new", "missing"]],
  },
  {
    what: "a type",
    script: `rm fifo; : > fifo; ${touch} fifo .`,
    expected: [["fifo", "type"]],
  },
  { what: "an owner", script: "chown 12:35 dir/deep/leaf", expected: [["dir/deep/leaf", "owner"]] },
  { what: "the owner of a symlink", script: "chown -h 5 link", expected: [["link", "owner"]] },
  {
    what: "a set-id bit",
    script: "chmod 0755 single",
    expected: [["single", "mode"], ["single2", "mode"]],
  },
  {
    what: "the mode of the root",
    script: "chmod 700 .",
    expected: [[".", "mode"]],
  },
  {
    what: "one nanosecond",
    script: "touch -d '2020-02-03 04:05:06.123456788' dir/deep/leaf",
    expected: [["dir/deep/leaf", "mtime"]],
  },
  {
    what: "the time of a symlink",
    script: "touch -h -d '1960-01-01 00:00:00.5' link",
    expected: [["link", "mtime"]],
  },
  {
    what: "an attribute's value",
    script: "setfattr -n trusted.note -v other dir",
    expected: [["dir", "attribute"]],
  },
  {
    what: "a removed attribute",
    script: "setfattr -x user.note file",
    expected: [["dir/hard", "attribute"], ["file", "attribute"], ["second", "attribute"]],
  },
  {
    what: "a default ACL",
    script: "setfacl -d -m u:1234:r dir",
    expected: [["dir", "attribute"]],
  },
  {
    what: "an attribute of the root",
    script: "setfattr -n user.root -v 1 .",
    expected: [[".", "attribute"]],
  },
  {
    what: "hard links that became copies",
    script: `cp -p --preserve=all single x; mv x single2; ${touch} . single2`,
    expected: [["single2", "links"]],
  },
  {
    what: "a name that moved to another group of links",
    script: `rm second; ln single second; ${touch} .`,
    expected: [["second", "links"], ["second", "mode"], ["second", "attribute"]],
  },
  {
    what: "a symlink's target",
    script: `ln -sfn target/of/Link link; ${touch} link .`,
    expected: [["link", "target"]],
  },
  {
    what: "a device number",
    script: `rm block; mknod block b 7 201; ${touch} block .`,
    expected: [["block", "device"]],
  },
  {
    what: "a hole that was filled with zeros",
    script:
      `dd if=/dev/zero of=sparse bs=1M count=2 seek=1 conv=notrunc status=none; ${touch} sparse`,
    expected: [["sparse", "extents"], ["sparse", "allocated"]],
  },
  {
    what: "space preallocated beyond the end",
    script: `fallocate -n -o 20M -l 1M sparse; ${touch} sparse`,
    expected: [["sparse", "allocated"]],
  },
  {
    what: "an inode flag",
    script: "chattr +A single",
    expected: [["single", "flags"], ["single2", "flags"]],
  },
  { what: "a directory's flag", script: "chattr +d empty", expected: [["empty", "flags"]] },
  {
    what: "a name that is not UTF-8",
    script: `mv not* "$(printf 'not\\376utf8\\nname')"; ${touch} .`,
    expected: [["not\xfeutf8\nname", "missing"], ["not\xffutf8\nname", "missing"]],
  },
];

for (const { what, script, expected } of changes) {
  testWith(needs, `compareTrees finds ${what}`, () =>
    withTempDir(async (directory) => {
      for (const name of ["a", "b"]) {
        await Deno.mkdir(`${directory}/${name}`);
        await shell(`${directory}/${name}`, tree);
      }
      await shell(`${directory}/b`, `set -e; ${script}`);
      const found = await compareTrees(`${directory}/a`, `${directory}/b`);
      const key = ([path, kind]: [string, string]) => `${path} ${kind}`;
      const keys = new Set(found.map(({ path, kind }) => key([path, kind])));
      for (const difference of expected) {
        assert.ok(keys.has(key(difference)), `${key(difference)} in:\n${formatDifferences(found)}`);
      }
      const others = found.filter(({ path, kind }) =>
        !expected.some((e) => key(e) === key([path, kind]))
      );
      const allowed = what.includes("moved to another group")
        ? ["content", "size", "flags", "links"]
        : [];
      assert.deepEqual(others.filter(({ kind }) => !allowed.includes(kind)), []);
    }));
}

testWith(
  needs,
  "Exclusions, ignored times and tolerated holes are not reported",
  () =>
    withTempDir(async (directory) => {
      for (const name of ["a", "b"]) {
        await Deno.mkdir(`${directory}/${name}`);
        await shell(`${directory}/${name}`, tree);
      }
      await shell(
        `${directory}/b`,
        `echo 1 > dir/deep/more.tmp; echo 2 > x.tmp
       dd if=/dev/zero of=sparse bs=4096 count=4 seek=1 conv=notrunc status=none; ${touch} sparse`,
      );
      const found = await compareTrees(`${directory}/a`, `${directory}/b`, {
        exclude: ["*.tmp", "dir/**/*.tmp"],
        ignoreTimesOf: (path) => path === "." || path === "dir/deep",
      });
      assert.equal(formatDifferences(found), "");
      const exact = await compareTrees(`${directory}/a`, `${directory}/b`, { sparseTolerance: 0 });
      assert.ok(exact.some(({ path, kind }) => path === "sparse" && kind === "extents"));
    }),
);
