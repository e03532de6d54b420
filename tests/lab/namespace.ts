/**
 * Namespaces kept by a process that is their process 1: when it is killed, the kernel ends every
 * process in them at once, and with the last of them the network, the mounts and the loop devices
 * go. Nothing has a name on the machine, so any number of labs can run side by side.
 */

import { labMark } from "./registry.ts";
import { childrenOf, signalProcess } from "./process.ts";
import { waitFor } from "../lib/wait.ts";

export interface Namespace {
  /** process 1 of the namespaces, by its id on the machine */
  readonly pid: number;
  /** what to put in front of a program to run it in here */
  readonly enter: string[];
  /** what to put in front of a program of the machine to give it only this network */
  readonly enterNetwork: string[];
  /** settles when every process in the namespaces has ended */
  readonly ended: Promise<void>;
  /** Ends every process in the namespaces at once. Wait for `ended` to know that it is done. */
  kill(): void;
}

/** Reaps what is orphaned in the namespace, for as long as it lives. */
const stay = "\necho ready\nexec >/dev/null 2>&1\nsleep infinity &\nwait\n";

/**
 * Makes namespaces (mounts, network, host name, System V IPC, processes) and runs `script` in them as
 * root with sh -e before it returns. Throws with the script's own words when it fails.
 */
export async function createNamespace(
  labDirectory: string,
  script: string,
  args: string[],
): Promise<Namespace> {
  const kinds = ["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"];
  const unshare = ["unshare", ...kinds, "--mount-proc", "--propagation", "private"];
  const child = new Deno.Command("setsid", {
    args: [
      "sh",
      "-c",
      'exec "$@" 2>&1',
      "sh",
      ...unshare,
      "sh",
      "-ec",
      script + stay,
      "sh",
      ...args,
    ],
    env: { [labMark]: labDirectory },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let over = false;
  const status = child.status.then((result) => {
    over = true;
    return result;
  });
  const said = await readUntil(child.stdout, "ready\n");
  if (!said.endsWith("ready\n")) {
    signalProcess(child.pid, "SIGKILL");
    await status;
    throw new Error(`A lab's namespaces could not be set up: ${said}`);
  }
  const pid = await waitFor("process 1 of the namespaces", () => {
    return over ? -1 : childrenOf(child.pid)[0];
  }, { interval: 1 });
  const target = ["nsenter", `--target=${pid}`];
  // nsenter stays behind as the parent of what it starts: it carries the mark, the program does not.
  const mark = ["env", `${labMark}=${labDirectory}`];
  const kindsToEnter = ["--mount", "--uts", "--ipc", "--net", "--pid"];
  return {
    pid,
    enter: [...mark, ...target, ...kindsToEnter, "env", `--unset=${labMark}`],
    enterNetwork: [...target, "--net"],
    ended: status.then(() => {}),
    kill: () => void signalProcess(pid, "SIGKILL"),
  };
}

/** Text up to and including `end`, or all of it where `end` does not come. */
async function readUntil(stream: ReadableStream<Uint8Array>, end: string): Promise<string> {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.endsWith(end)) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
  }
  await reader.cancel();
  return text;
}
