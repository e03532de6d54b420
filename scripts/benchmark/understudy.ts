/** Understudy's mirror between two hosts, the workload on the primary. */

import { createLab, type ModuleStatus } from "../../tests/lab/lab.ts";
import { waitFor } from "../../tests/lib/wait.ts";
import type { Bench, System } from "./system.ts";

const variants = {
  "understudy": { title: "Understudy", encryption: "on", sync: "write" },
  "understudy-plain": { title: "no encryption", encryption: "off", sync: "write" },
  "understudy-fsync": { title: "sync = fsync", encryption: "on", sync: "fsync" },
} as const;

const module = "bench";
const directory = "/srv/mirror";

export async function startUnderstudy(bench: Bench, name: keyof typeof variants): Promise<System> {
  const variant = variants[name];
  const lab = await createLab();
  await bench.cleanup.add(`end ${name}`, lab.close);
  const { alpha, beta } = lab;
  await lab.writeConfig({
    modules: [{ name: module, directories: [directory], sync: variant.sync }],
    encryption: variant.encryption,
    logLevel: "info",
  });
  let generation: number;
  try {
    for (const host of [alpha, beta]) {
      await host.run(["mkdir", directory]);
      await host.startAgent();
    }
    await alpha.cli("prim", module);
    ({ generation } = await alpha.waitState(module, "PRIM"));
    await beta.waitState(module, "SECOND");
  } catch (error) {
    bench.say(await lab.logTails(20));
    throw error;
  }

  /** A rate counts only where both hosts held every write all the time. */
  async function settle(): Promise<void> {
    const protectedThroughout = (now: ModuleStatus) =>
      now.state === "PRIM" && now.sync === "synced" && now.generation === generation;
    const now = await waitFor(
      `${variant.title} to have applied everything on both hosts`,
      async () => {
        const now = await alpha.status(module);
        return (!protectedThroughout(now) || now.replication.lag_ops === 0) && now;
      },
      { timeout: 60_000 },
    );
    if (!protectedThroughout(now)) {
      throw new Error(`It did not stay in sync: ${now.state}, ${now.sync}, ${now.reason}`);
    }
  }

  const version = (await alpha.cli("version")).stdout.trim().split("\n")[0];
  return {
    name,
    title: variant.title,
    settings: `${version}, sync = "${variant.sync}", encryption = "${variant.encryption}"`,
    directory,
    cannot: [],
    run: async (command) => (await alpha.run(command, { timeout: 300_000 })).stdout,
    settle,
  };
}
