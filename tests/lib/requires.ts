/**
 * Tests that need more than Deno: root, a device, a program. What a machine lacks makes the test
 * ignored, with the reason in its name.
 */

import { binary, repository } from "./paths.ts";

/**
 * `root`; `fuse`: /dev/fuse opens; `binary`: the program under test is built; `namespaces`: the lab's
 * network, mount and process namespaces can be made; `loop`: file-system images can be mounted;
 * `command:NAME`: a program on PATH (or in /usr/sbin).
 */
export type Need = "root" | "fuse" | "binary" | "namespaces" | "loop" | `command:${string}`;

/** What a lab needs; add `loop` for `disk: "ext4"`. */
export const labNeeds: readonly Need[] = [
  "root",
  "fuse",
  "binary",
  "namespaces",
  "command:ip",
  "command:nft",
  "command:tc",
  "command:bash",
];

const answers = new Map<Need, string | undefined>();

/** The reason why the machine does not meet `needs`, or undefined where it does. */
export function missing(...needs: Need[]): string | undefined {
  for (const need of needs) {
    if (!answers.has(need)) answers.set(need, probe(need));
    const reason = answers.get(need);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Registers a test that is ignored, with the reason in its name, where the machine lacks something. */
export function testWith(
  needs: readonly Need[],
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  const reason = missing(...needs);
  // What a test leaves behind is found by its runner, also beyond this process; Deno's own count is off
  // where a program of a lab ends a moment late on a busy machine.
  const options = { sanitizeOps: false, sanitizeResources: false };
  if (reason === undefined) Deno.test({ name, fn, ...options });
  else Deno.test({ name: `${name} (ignored: ${reason})`, ignore: true, fn });
}

function probe(need: Need): string | undefined {
  if (need === "root") return Deno.uid() === 0 ? undefined : "needs root";
  if (need === "binary") {
    if (exists(binary)) return undefined;
    return `needs the built program (${binary.replace(`${repository}/`, "")}): run scripts/build`;
  }
  if (need === "fuse") {
    try {
      Deno.openSync("/dev/fuse", { read: true, write: true }).close();
      return undefined;
    } catch {
      return "needs /dev/fuse";
    }
  }
  if (need === "namespaces") {
    const flags = ["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"];
    return succeeds("unshare", [...flags, "true"])
      ? undefined
      : "needs the right to make namespaces";
  }
  if (need === "loop") {
    if (!exists("/dev/loop-control")) return "needs loop devices";
    return missing("command:mkfs.ext4", "command:losetup", "command:fsfreeze");
  }
  const command = need.slice("command:".length);
  const directories = `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin`.split(":");
  if (directories.some((directory) => directory !== "" && exists(`${directory}/${command}`))) {
    return undefined;
  }
  return `needs the program ${command}`;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function succeeds(command: string, args: string[]): boolean {
  try {
    const options = { args, stdin: "null", stdout: "null", stderr: "null" } as const;
    return new Deno.Command(command, options).outputSync().success;
  } catch {
    return false;
  }
}
