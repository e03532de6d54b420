import assert from "node:assert/strict";
import { emptyRecord, maxAncestors, nextHistory } from "./record.ts";
import {
  knownModules,
  moduleDirectory,
  readRecord,
  reserveRecord,
  StateError,
  writeRecord,
} from "./store.ts";

async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "understudy-state-" });
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("A module without a record has an empty one", () =>
  inDirectory(async (directory) => {
    assert.deepEqual(await readRecord(directory, "m", "alpha"), emptyRecord("m", "alpha"));
  }));

Deno.test("A record that was written is read back, and the next one has its space", () =>
  inDirectory(async (directory) => {
    const record = {
      ...emptyRecord("m", "alpha"),
      ...nextHistory({ generation: 6, id: "six", ancestors: ["five"] }, 7, "seven"),
      revision: 12,
      copy: "good" as const,
    };
    await reserveRecord(directory, emptyRecord("m", "alpha"));
    await writeRecord(directory, record);
    await reserveRecord(directory, record);
    assert.deepEqual(await readRecord(directory, "m", "alpha"), record);
    const names = [...Deno.readDirSync(moduleDirectory(directory, "m"))].map((e) => e.name);
    assert.deepEqual(names.sort(), ["record.json", "record.json.new"]);
    assert.deepEqual(await knownModules(directory), ["m"]);
    assert.deepEqual(await knownModules(`${directory}/nowhere`), []);
  }));

const damages: [string, (text: string) => string, RegExp][] = [
  [
    "a flipped digit",
    (t) => t.replace('"generation":3', '"generation":4'),
    /its checksum is wrong/,
  ],
  ["half a file", (t) => t.trimEnd().slice(0, -20), /it is no JSON/],
  ["an empty file", () => "", /it is no JSON/],
  ["another value", () => "null", /its checksum is wrong/],
];
for (const [what, damage, message] of damages) {
  Deno.test(`A damaged record is refused with what to do: ${what}`, () =>
    inDirectory(async (directory) => {
      await writeRecord(directory, { ...emptyRecord("m", "alpha"), generation: 3, id: "x" });
      const file = `${moduleDirectory(directory, "m")}/record.json`;
      await Deno.writeTextFile(file, damage(await Deno.readTextFile(file)));
      await assert.rejects(readRecord(directory, "m", "alpha"), (error: Error) => {
        assert.ok(error instanceof StateError);
        assert.match(error.message, message);
        assert.match(error.message, /`understudy second m`/);
        return true;
      });
    }));
}

Deno.test("A record of another node, module or later version is refused", () =>
  inDirectory(async (directory) => {
    await writeRecord(directory, emptyRecord("m", "alpha"));
    await assert.rejects(readRecord(directory, "m", "beta"), /written by node "alpha"/);
    await Deno.rename(moduleDirectory(directory, "m"), moduleDirectory(directory, "n"));
    await assert.rejects(readRecord(directory, "n", "alpha"), /belongs to module "m"/);
    // deno-lint-ignore no-explicit-any
    await writeRecord(directory, { ...emptyRecord("m", "alpha"), format: 2 as any });
    await assert.rejects(readRecord(directory, "m", "alpha"), /a later version of Understudy/);
  }));

Deno.test("A record that cannot be written says where and what to do", () =>
  inDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/modules`, "in the way");
    await assert.rejects(writeRecord(directory, emptyRecord("m", "alpha")), /Make room or repair/);
  }));

Deno.test("A history keeps a bounded number of ancestors, newest first", () => {
  let history = { generation: 0, id: "", ancestors: [] as string[] };
  for (let i = 1; i <= maxAncestors + 5; i++) history = nextHistory(history, i, `id${i}`);
  assert.equal(history.ancestors.length, maxAncestors);
  assert.ok(maxAncestors * '"0123456789abcdef-1234",'.length < 30_000, "they fit into the file");
  assert.equal(history.ancestors[0], `id${maxAncestors + 4}`);
  assert.deepEqual(nextHistory({ generation: 0, id: "", ancestors: [] }, 1, "a").ancestors, []);
});
