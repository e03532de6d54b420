/** Processes that hammer the source while a test does something to the mirror. */
import assert from "node:assert/strict";
import type { HammerOptions } from "./hammer.ts";

export interface Load {
  /** Stops the processes and fails with what they found that should not be; returns their actions. */
  stop(): Promise<number>;
  /** Ends the processes; those that wait for the mirror end with it. */
  kill(): void;
}

export interface LoadOptions extends Omit<HammerOptions, "stop"> {
  processes: number;
  /** a directory outside of the mirror */
  base: string;
}

const program = new URL("./hammer.ts", import.meta.url).pathname;

/** Starts the processes. Each gets a seed of its own, from `seed` on. */
export function startLoad(options: LoadOptions): Load {
  const { processes, base, ...rest } = options;
  const stop = `${base}/stop-${crypto.randomUUID()}`;
  const children = Array.from({ length: processes }, (_, i) => {
    const argument = JSON.stringify({ ...rest, seed: rest.seed * 1000 + i, stop });
    const flags = ["run", "--allow-all", "--no-config", "--no-lock", "--no-remote", "--no-npm"];
    return new Deno.Command(Deno.execPath(), {
      args: [...flags, program, argument],
      cwd: "/",
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  });
  const outputs = children.map((child) => child.output());
  return {
    async stop() {
      await Deno.writeTextFile(stop, "");
      let done = 0;
      for (const output of outputs) {
        const { stdout, stderr, code } = await output;
        const text = new TextDecoder().decode(stdout).trim();
        assert.equal(code, 0, `A process of the load: ${text} ${new TextDecoder().decode(stderr)}`);
        done += JSON.parse(text).done;
      }
      return done;
    },
    kill() {
      for (const child of children) {
        try {
          child.kill("SIGKILL");
        } catch {
          // It has ended.
        }
      }
    },
  };
}
