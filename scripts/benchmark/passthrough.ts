/** libfuse's own C example of a pass-through file system: what a crossing of FUSE costs. */

import { spawn } from "../../tests/lab/process.ts";
import { waitFor } from "../../tests/lib/wait.ts";
import { needPackages, output } from "./host.ts";
import type { Bench, System } from "./system.ts";

const source = "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c";

/** Builds passthrough_ll from Debian's libfuse3-dev, once, in the cache folder. */
async function build(): Promise<{ binary: string; version: string }> {
  await needPackages(["libfuse3-dev", "gcc", "libc6-dev", "pkg-config", "fuse3"]);
  const version = (await output([], ["pkg-config", "--modversion", "fuse3"])).trim();
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  const binary = `${cache}/understudy/bench/passthrough_ll-${version}`;
  if (await Deno.stat(binary).then(() => true, () => false)) return { binary, version };
  await Deno.mkdir(`${cache}/understudy/bench`, { recursive: true });
  const flags = await output([], ["pkg-config", "--cflags", "--libs", "fuse3"]);
  await output([], ["gcc", "-O2", "-o", `${binary}.new`, source, ...flags.trim().split(/\s+/)]);
  await Deno.rename(`${binary}.new`, binary);
  return { binary, version };
}

/** Mounts it. `threads` is "one" (-s) or "many" (libfuse's default). */
export async function startPassthrough(bench: Bench, threads: "one" | "many"): Promise<System> {
  const { binary, version } = await build();
  const name = threads === "one" ? "passthrough" : "passthrough-mt";
  const directory = `${bench.directory}/${name}`;
  const mount = `${directory}/mount`;
  for (const part of ["data", "mount"]) {
    await Deno.mkdir(`${directory}/${part}`, { recursive: true });
  }
  const options =
    `source=${directory}/data,no_writeback,cache=auto,allow_other,default_permissions`;
  const server = await spawn(
    // Also ends where this process is killed.
    ["setpriv", "--pdeathsig", "KILL"],
    [binary, "-f", ...(threads === "one" ? ["-s"] : []), "-o", options, mount],
    { log: `${directory}/log` },
  );
  await bench.cleanup.add(`unmount ${name}`, async () => {
    await output([], ["umount", "--lazy", mount]);
    server.kill("SIGKILL");
    await server.status;
  });
  await waitFor(
    `${name} to be mounted`,
    () => output([], ["mountpoint", "-q", mount]).then(() => true),
  );
  return {
    name,
    title: threads === "one" ? "C pass-through -s" : "C pass-through mt",
    settings: `libfuse ${version} passthrough_ll ${
      threads === "one" ? "-s (one thread)" : "(many threads)"
    }, cache=auto, no_writeback; no second copy, and no pgbench: it makes every file root's`,
    directory: mount,
    cannot: ["pgbench"],
    run: (command) => output([], command),
    settle: () => Promise.resolve(),
  };
}
