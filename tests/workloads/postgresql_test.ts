/**
 * PostgreSQL on the mirror: a cluster is made, loaded and checked; the secondary's copy, taken while
 * the database runs, recovers as after a crash.
 */
// test-deadline: 900s

import assert from "node:assert/strict";
import { labTest } from "../lab/lab.ts";
import { missing } from "../lib/requires.ts";
import { startMirror } from "./mirrored.ts";
import { binaries, startPostgres } from "./postgresql.ts";

const timeout = 300_000;
const reason = missing("root") ?? (binaries === undefined ? "needs postgresql" : undefined);

for (const sync of ["write", "fsync"] as const) {
  labTest(
    `initdb and pgbench work on a mirror with sync = "${sync}"`,
    {
      disk: { kind: "ext4", size: "3G" },
      needs: reason === undefined ? [] : ["command:pgbench"],
    },
    async (lab) => {
      const mirror = await startMirror(lab, { sync });
      const postgres = await startPostgres(mirror.primary, `${mirror.directory}/cluster`);
      await postgres.run(["pgbench", "-i", "-q", "-s", "5", "bench"], timeout);
      await postgres.run(
        ["pgbench", "-n", "-c", "4", "-j", "2", "-t", "400", "bench"],
        timeout,
      );
      await postgres.run(["vacuumdb", "--full", "--quiet", "bench"], timeout);
      const sums = "SELECT sum(abalance), count(*) FROM pgbench_accounts; " +
        "SELECT sum(delta), count(*) FROM pgbench_history;";
      const wanted = await postgres.sql("bench", sums);
      assert.match(wanted, /\|1600$/);
      await postgres.sql("bench", "CREATE EXTENSION IF NOT EXISTS amcheck;");
      await postgres.run(["pg_amcheck", "--heapallindexed", "bench"], timeout);

      // A copy of what the secondary has while the primary's database runs: a crash, seen from there.
      await mirror.secondary.run([
        "cp",
        "--archive",
        `${mirror.directory}/cluster`,
        "/srv/copy",
      ], { timeout });
      await mirror.secondary.run("rm -f /srv/copy/postmaster.pid");
      const copy = await startPostgres(mirror.secondary, "/srv/copy", { make: false });
      assert.equal(await copy.sql("bench", sums), wanted);
      await copy.run(["pg_amcheck", "--heapallindexed", "bench"], timeout);
      await copy.stop();

      await postgres.stop();
      await mirror.assertIdentical();
      const checksums = [`${binaries}/pg_checksums`, "--check", `${mirror.directory}/cluster`];
      await mirror.secondary.run(["runuser", "-u", "postgres", "--", ...checksums], { timeout });
    },
  );
}
