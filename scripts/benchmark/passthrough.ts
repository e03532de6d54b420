/** libfuse's own C example of a pass-through file system: what a crossing of FUSE costs. */

import { needPackages, run, waitUntil } from "./host.ts";
import { createNode } from "./nodes.ts";
import type { Bench, System } from "./system.ts";

const source = "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c";

/** Builds passthrough_ll from Debian's libfuse3-dev, once, in the cache folder. */
async function build(): Promise<string> {
  await needPackages(["libfuse3-dev", "gcc", "libc6-dev", "pkg-config", "fuse3"]);
  const version = await run(["pkg-config", "--modversion", "fuse3"]);
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  const binary = `${cache}/understudy/bench/passthrough_ll-${version.trim()}`;
  if (await Deno.stat(binary).then(() => true, () => false)) return binary;
  await Deno.mkdir(`${cache}/understudy/bench`, { recursive: true });
  const flags = (await run(["pkg-config", "--cflags", "--libs", "fuse3"])).trim().split(/\s+/);
  await run(["gcc", "-O2", "-o", `${binary}.new`, source, ...flags]);
  await Deno.rename(`${binary}.new`, binary);
  return binary;
}

/** Mounts it in a node of its own. `threads` is "one" (-s) or "many" (libfuse's default). */
export async function startPassthrough(bench: Bench, threads: "one" | "many"): Promise<System> {
  const binary = await build();
  const name = threads === "one" ? "passthrough" : "passthrough-mt";
  const directory = `${bench.directory}/${name}`;
  for (const part of ["data", "mount"]) {
    await Deno.mkdir(`${directory}/${part}`, { recursive: true });
  }
  const node = await createNode({ name, address: "", directory, privatePaths: [] });
  bench.cleanup.add(`end ${name}`, node.stop);
  const mount = `${directory}/mount`;
  const options =
    `source=${directory}/data,no_writeback,cache=auto,allow_other,default_permissions`;
  node.start(
    [binary, "-f", ...(threads === "one" ? ["-s"] : []), "-o", options, mount],
    `${directory}/log`,
  );
  await waitUntil(
    `${name} to be mounted`,
    10_000,
    bench.cleanup,
    () => run([...node.enter, "mountpoint", "-q", mount]).then(() => true, () => false),
  );
  return {
    name,
    title: threads === "one" ? "C pass-through -s" : "C pass-through mt",
    settings: `libfuse ${binary.split("-").at(-1)} passthrough_ll ${
      threads === "one" ? "-s (one thread)" : "(many threads)"
    }, cache=auto, no_writeback; no second copy, and no pgbench: it makes every file root's`,
    enter: node.enter,
    directory: mount,
    cannot: ["pgbench"],
    settle: () => Promise.resolve(),
  };
}
