/** A lab with a module that is mirrored from one host to the other, for workloads to run on. */

import assert from "node:assert/strict";
import { type CompareOptions, compareTrees, formatDifferences } from "../lab/compare.ts";
import type { ModuleSpec } from "../lab/config.ts";
import type { Host } from "../lab/host.ts";
import type { Lab } from "../lab/lab.ts";
import { pause } from "../lib/wait.ts";

export interface MirrorOptions {
  sync?: "write" | "fsync";
  /** globs that are not mirrored */
  exclude?: string[];
  /** default /srv/data; more than one where a workload spans several */
  directories?: string[];
  /** false: the primary's host only, which then serves ALONE */
  peer?: boolean;
}

export interface Mirror {
  readonly module: string;
  /** the first directory, as the hosts see it */
  readonly directory: string;
  readonly primary: Host;
  readonly secondary: Host;
  /**
   * Writes back what the primary's kernel still holds, and then asserts that the directories beneath
   * both mounts are the same, and that the pair stayed in sync all the time.
   */
  assertIdentical(options?: CompareOptions): Promise<void>;
  /** Moves the primary's role to the other host, by hand as an operator does it. */
  swap(): Promise<void>;
}

const module = "workload";
/** How long modification times may take to arrive where nothing else happens, in milliseconds. */
const timesSettle = 3_000;

/** Configures the lab, starts the agents and waits until the primary mirrors to the secondary. */
export async function startMirror(lab: Lab, options: MirrorOptions = {}): Promise<Mirror> {
  const { sync = "write", exclude = [], directories = ["/srv/data"], peer = true } = options;
  const spec: ModuleSpec = {
    name: module,
    sync,
    directories: directories.map((path) => ({ path, exclude })),
  };
  await lab.writeConfig({ modules: [spec] });
  const hosts = peer ? [lab.alpha, lab.beta] : [lab.alpha];
  for (const host of hosts) {
    for (const path of directories) await host.run(["mkdir", "-p", "-m", "755", path]);
    await host.startAgent();
  }
  let [primary, secondary] = [lab.alpha, lab.beta];
  await primary.waitState(module, "WAIT", { ready: false });
  await order(primary, "prim");
  await inSync();

  async function inSync(): Promise<void> {
    if (!peer) return void await primary.waitState(module, "ALONE");
    await Promise.all([
      primary.waitState(module, "PRIM"),
      secondary.waitState(module, "SECOND"),
    ]);
  }

  return {
    module,
    directory: directories[0],
    get primary() {
      return primary;
    },
    get secondary() {
      return secondary;
    },
    async assertIdentical(compareOptions) {
      for (const path of directories) await primary.run(["sync", "--file-system", path]);
      await assertStayedInSync(primary, secondary);
      for (const path of directories) {
        const [a, b] = [primary.path(path), secondary.path(path)];
        const compare = () => compareTrees(a, b, { exclude, ...compareOptions });
        let differences = await compare();
        // The times that writes leave travel a moment after them; everything else is there at once.
        // ext4 calls space that is allocated but unwritten data while the kernel caches its zeros
        // (iomap_seek_data): what one side has read differs until the comparison has read both.
        const settling = ["mtime", "extents"];
        const deadline = performance.now() + timesSettle;
        while (
          differences.length > 0 && differences.every(({ kind }) => settling.includes(kind)) &&
          performance.now() < deadline
        ) {
          await pause(50);
          differences = await compare();
        }
        assert.equal(formatDifferences(differences), "", `${path} is not the same on both hosts`);
      }
    },
    async swap() {
      await order(primary, "stop");
      await primary.waitState(module, "STOP", { ready: false });
      // A stop hands over to a secondary in sync; where it only stops, the operator says `prim`.
      const { state } = await secondary.status(module);
      if (state !== "ALONE" && state !== "PRIM") await order(secondary, "prim");
      await order(primary, "start");
      [primary, secondary] = [secondary, primary];
      await inSync();
    },
  };
}

/** Gives an order over HTTP; throws where it is refused. */
export async function order(
  host: Host,
  action: "start" | "stop" | "prim" | "second",
): Promise<void> {
  const response = await host.http(`/modules/${module}/${action}`, { method: "POST" });
  if (response.status < 300) return;
  throw new Error(`${action} on ${host.name}: ${response.status} ${response.body}`);
}

async function assertStayedInSync(primary: Host, secondary: Host): Promise<void> {
  const [a, b] = [await primary.status(module), await secondary.status(module)];
  assert.deepEqual(
    { primary: a.state, secondary: b.state, ready: b.ready, sync: b.sync },
    { primary: "PRIM", secondary: "SECOND", ready: true, sync: "synced" },
    `${a.reason}; ${b.reason}`,
  );
}
