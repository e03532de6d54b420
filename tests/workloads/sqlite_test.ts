/** SQLite on the mirror: both journals, several writers, and the secondary's copy checked. */
// test-deadline: 600s

import assert from "node:assert/strict";
import type { Host } from "../lab/host.ts";
import { labTest } from "../lab/lab.ts";
import { run } from "../lab/process.ts";
import { startMirror } from "./mirrored.ts";

const timeout = 240_000;

const schema = `
  CREATE TABLE entry (id INTEGER PRIMARY KEY, writer INTEGER, number INTEGER, filling TEXT);
  CREATE INDEX entry_writer ON entry (writer, number);
`;

/** One writer's statements: transactions of their own, some rolled back, updates and deletions. */
function statements(writer: number, rounds: number): string {
  const lines = [".bail on", ".timeout 120000", "PRAGMA synchronous = FULL;"];
  for (let round = 0; round < rounds; round++) {
    lines.push(
      "BEGIN IMMEDIATE;",
      `INSERT INTO entry (writer, number, filling) VALUES (${writer}, ${round}, ` +
        `hex(zeroblob(${200 + (round * 37) % 3000})));`,
      round % 5 === 4
        ? `UPDATE entry SET filling = 'short' WHERE writer = ${writer} AND number < ${round - 3};`
        : "",
      round % 7 === 6
        ? `DELETE FROM entry WHERE writer = ${writer} AND number = ${round - 6};`
        : "",
      "COMMIT;",
    );
    if (round % 10 === 9) {
      lines.push("BEGIN IMMEDIATE;", `DELETE FROM entry WHERE writer = ${writer};`, "ROLLBACK;");
    }
  }
  return lines.join("\n") + "\n";
}

async function sqlite(host: Host, database: string, input: string): Promise<string> {
  return (await host.run(["sqlite3", database], { stdin: input, timeout })).stdout.trim();
}

for (const journal of ["wal", "delete", "truncate", "persist"] as const) {
  for (const sync of ["write", "fsync"] as const) {
    labTest(
      `SQLite with journal_mode = ${journal} works on a mirror with sync = "${sync}"`,
      { needs: ["command:sqlite3"] },
      async (lab) => {
        const mirror = await startMirror(lab, { sync });
        const database = `${mirror.directory}/test.db`;
        const mode = await sqlite(mirror.primary, database, `PRAGMA journal_mode = ${journal};`);
        assert.equal(mode, journal);
        await sqlite(mirror.primary, database, schema);
        const [writers, rounds] = [3, 40];
        await Promise.all(
          Array.from(
            { length: writers },
            (_, writer) => sqlite(mirror.primary, database, statements(writer, rounds)),
          ),
        );
        const count = "SELECT count(*), sum(length(filling)) FROM entry; PRAGMA integrity_check;";
        const wanted = await sqlite(mirror.primary, database, count);
        const deleted = Math.floor(rounds / 7);
        assert.match(wanted, new RegExp(`^${writers * (rounds - deleted)}\\|\\d+\\nok$`));
        await mirror.assertIdentical();
        // The secondary's files, beneath its mount, are a database by themselves.
        const copy = `${mirror.secondary.path(mirror.directory)}/test.db`;
        const found = await run([], ["sqlite3", `file:${copy}?immutable=1`], { stdin: count });
        assert.equal(found.stdout.trim(), wanted);
      },
    );
  }
}
