/** GlusterFS, replica 2 between two hosts, mounted on the first: Debian's packages, default options. */

import { createLab } from "../../tests/lab/lab.ts";
import { waitFor } from "../../tests/lib/wait.ts";
import { needPackages } from "./host.ts";
import type { Bench, System } from "./system.ts";

/** On each host's own part of the file system under test. */
const brick = "/srv/brick";
const mount = "/mnt/mirror";

export async function startGlusterFs(bench: Bench): Promise<System> {
  await needPackages(["glusterfs-server", "glusterfs-client"]);
  const lab = await createLab();
  await bench.cleanup.add("end GlusterFS", lab.close);
  const { alpha, beta } = lab;
  const run = async (command: string[]) => (await alpha.run(command, { timeout: 300_000 })).stdout;
  const gluster = (...args: string[]) => run(["gluster", "--mode=script", ...args]);

  for (const host of [alpha, beta]) {
    // A state of its own: the installed package's holds an identity that must differ between hosts.
    await host.run("rm -rf /var/lib/glusterd && mkdir -p /var/lib/glusterd /srv/brick");
    await host.spawn(["glusterd", "--no-daemon"]);
    await waitFor(
      `glusterd on ${host.name}`,
      () => bench.cleanup.begun || host.run(["gluster", "pool", "list"]).then(() => true),
      { timeout: 20_000 },
    );
  }
  await gluster("peer", "probe", beta.addresses[0]);
  await waitFor(
    "the two GlusterFS hosts to be connected",
    async () =>
      bench.cleanup.begun ||
      (await gluster("peer", "status")).includes("Peer in Cluster (Connected)"),
    { timeout: 20_000 },
  );
  const bricks = [alpha, beta].map((host) => `${host.addresses[0]}:${brick}`);
  await gluster("volume", "create", "mirror", "replica", "2", ...bricks, "force");
  await gluster("volume", "start", "mirror");
  await run(["mkdir", "-p", mount]);
  await run(["mount", "-t", "glusterfs", `${alpha.addresses[0]}:/mirror`, mount]);

  /** The mount answers before its connections to both bricks stand; until then it keeps one copy. */
  async function writesBoth(): Promise<boolean> {
    const probe = `probe-${crypto.randomUUID()}`;
    await run(["touch", `${mount}/${probe}`]);
    const copies = [alpha, beta].map((host) => Deno.stat(host.path(`${brick}/${probe}`)));
    const both = await Promise.all(copies).then(() => true, () => false);
    await run(["rm", `${mount}/${probe}`]);
    return both;
  }
  await waitFor(
    "both GlusterFS bricks to take writes",
    () => bench.cleanup.begun || writesBoth(),
    { timeout: 30_000 },
  );

  const version = (await run(["glusterd", "--version"])).split("\n")[0];
  return {
    name: "glusterfs",
    title: "GlusterFS",
    settings: `${version}, replica 2 between two hosts, default options ` +
      `(its client writes behind: a write may return before a brick has it)`,
    directory: mount,
    cannot: [],
    run,
    async settle() {
      if (!await writesBoth()) throw new Error("GlusterFS does not write to both bricks any more");
    },
  };
}
