/** The test's side of node.ts: commands in, events and answers out. */

import { repository } from "../lib/paths.ts";
import { waitFor } from "../lib/wait.ts";
import type { ClusterEvent } from "../../agent/cluster/events.ts";
import type { Command, NodeSetup } from "./node.ts";

type Distribute<T> = T extends unknown ? Omit<T, "id"> : never;

export interface RemoteNode {
  /** Gives a command and waits for its answer. */
  ask(command: Distribute<Command>, timeout?: number): Promise<any>;
  /** Everything reported so far, with the node's own clock in ms. */
  events(): { event: ClusterEvent; at: number }[];
  /** Waits for an event of this kind among those after the first `skip` ones. */
  event(kind: ClusterEvent["kind"], skip?: number, timeout?: number): Promise<ClusterEvent>;
}

/** How node.ts is started, without the setup. */
export const nodeCommand: string[] = [
  Deno.execPath(),
  "run",
  "--allow-all",
  "--no-check",
  "--cached-only",
  "--v8-flags=--expose-gc",
  `--config=${repository}/deno.json`,
  `${repository}/tests/cluster/node.ts`,
];

/** Starts a node; `spawn` runs the program with its output in the log. */
export async function startRemoteNode(
  directory: string,
  name: string,
  setup: Omit<NodeSetup, "commands">,
  spawn: (command: string[], log: string) => Promise<unknown>,
): Promise<RemoteNode> {
  const commands = `${directory}/${name}.pipe`;
  const log = `${directory}/${name}.log`;
  const made = await new Deno.Command("mkfifo", { args: [commands] }).output();
  if (!made.success) throw new Error(`mkfifo ${commands} failed`);
  await Deno.writeTextFile(log, "");
  await spawn([...nodeCommand, JSON.stringify({ ...setup, commands })], log);

  let text = "";
  let position = 0;
  const answers = new Map<number, unknown>();
  const events: { event: ClusterEvent; at: number }[] = [];
  let ready = false;
  let next = 1;

  function read(): void {
    const file = Deno.openSync(log);
    file.seekSync(position, Deno.SeekMode.Start);
    const buffer = new Uint8Array(1 << 20);
    for (let taken; (taken = file.readSync(buffer)) !== null; position += taken) {
      text += new TextDecoder().decode(buffer.subarray(0, taken));
    }
    file.close();
    const lines = text.split("\n");
    text = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("{")) throw new Error(`${name} said: ${[line, ...lines].join("\n")}`);
      const value = JSON.parse(line);
      if (value.ready) ready = true;
      else if (value.event) events.push(value);
      else answers.set(value.id, value.result);
    }
  }

  await waitFor(`${name} to start`, () => {
    read();
    return ready;
  }, { timeout: 20_000 });

  return {
    async ask(command, timeout = 10_000) {
      const id = next++;
      // For reading too: it would wait for a reader otherwise, also where that is dead.
      const pipe = await Deno.open(commands, { read: true, write: true });
      await pipe.write(new TextEncoder().encode(JSON.stringify({ ...command, id }) + "\n"));
      pipe.close();
      return await waitFor(`${name} to answer ${command.kind}`, () => {
        read();
        return answers.has(id) && { value: answers.get(id) };
      }, { timeout, interval: 5 }).then(({ value }) => value);
    },
    events() {
      read();
      return events;
    },
    event(kind, skip = 0, timeout = 10_000) {
      return waitFor(`${name} to report ${kind}`, () => {
        read();
        return events.slice(skip).find(({ event }) => event.kind === kind)?.event;
      }, { timeout, interval: 10 });
    },
  };
}
