/** GlusterFS, replica 2 between two nodes, mounted on the first: Debian's packages, default options. */

import { needPackages, run, waitUntil } from "./host.ts";
import { createNode, joinNodes, type Node } from "./nodes.ts";
import type { Bench, System } from "./system.ts";

const privatePaths = ["/var/lib/glusterd", "/var/log/glusterfs"];

export async function startGlusterFs(bench: Bench): Promise<System> {
  await needPackages(["glusterfs-server", "glusterfs-client"]);
  const base = `${bench.directory}/glusterfs`;
  const nodes: Node[] = [];
  for (const [index, name] of ["one", "two"].entries()) {
    const directory = `${base}/${name}`;
    await Deno.mkdir(`${directory}/brick`, { recursive: true });
    const address = `10.76.0.${index + 1}`;
    const node = await createNode({ name, address, directory, privatePaths });
    bench.cleanup.add(`end GlusterFS on node ${name}`, node.stop);
    nodes.push(node);
  }
  const [one, two] = nodes;
  await joinNodes(one, two);
  for (const node of nodes) {
    node.start(["glusterd", "--no-daemon"], `${base}/${node.name}/log`);
    await waitUntil(
      `glusterd on node ${node.name}`,
      20_000,
      bench.cleanup,
      () => run([...node.enter, "gluster", "pool", "list"]).then(() => true, () => false),
    );
  }
  const gluster = (...args: string[]) => run([...one.enter, "gluster", "--mode=script", ...args]);
  await gluster("peer", "probe", two.address);
  await waitUntil(
    "the two GlusterFS nodes to be connected",
    20_000,
    bench.cleanup,
    async () => (await gluster("peer", "status")).includes("Peer in Cluster (Connected)"),
  );
  const bricks = nodes.map((node) => `${node.address}:${base}/${node.name}/brick`);
  await gluster("volume", "create", "mirror", "replica", "2", ...bricks, "force");
  await gluster("volume", "start", "mirror");
  const mount = `${base}/mount`;
  await Deno.mkdir(mount);
  await run([...one.enter, "mount", "-t", "glusterfs", `${one.address}:/mirror`, mount]);
  // The mount answers before its connections to both bricks stand; until then it keeps one copy only.
  await waitUntil("both GlusterFS bricks to take writes", 30_000, bench.cleanup, async () => {
    const probe = `probe-${crypto.randomUUID()}`;
    await run([...one.enter, "touch", `${mount}/${probe}`]);
    const copies = nodes.map((node) => Deno.stat(`${base}/${node.name}/brick/${probe}`));
    const both = await Promise.all(copies).then(() => true, () => false);
    await run([...one.enter, "rm", `${mount}/${probe}`]);
    return both;
  });
  const version = (await run(["glusterd", "--version"])).split("\n")[0];
  return {
    name: "glusterfs",
    title: "GlusterFS",
    settings:
      `${version}, replica 2, two nodes joined by a veth pair, default options (its client ` +
      `writes behind: a write may return before a brick has it)`,
    enter: one.enter,
    directory: mount,
    cannot: [],
    settle: () => Promise.resolve(),
  };
}
