/** `understudy init`: the first configuration and the secrets. */

import { InitError, writeInit } from "../config/mod.ts";
import type { Context } from "./context.ts";
import { Failure } from "./failure.ts";

export interface InitArguments {
  /** `NAME=ADDRESS[,ADDRESS]` each; empty: an example to edit */
  nodes: string[];
  stateDir?: string;
}

/** What stands in the file where nobody said which the nodes are: those of the documentation. */
const EXAMPLE = ["alpha=10.77.0.1,10.78.0.1", "beta=10.77.0.2,10.78.0.2"];

export function init({ io, options }: Context, { nodes, stateDir }: InitArguments): number {
  const example = nodes.length === 0;
  const parsed = (example ? EXAMPLE : nodes).map(parseNode);
  let files;
  try {
    files = writeInit({
      config: options.config,
      nodes: parsed,
      ...(stateDir === undefined ? {} : { stateDir }),
    });
  } catch (error) {
    if (error instanceof InitError) throw new Failure(error.message);
    throw error;
  }
  for (const { path } of files) io.out(`wrote ${path}\n`);
  const steps = [
    ...(example ? [`put the names and addresses of your nodes into ${files[0].path}`] : []),
    "define a module: understudy module new NAME --directory PATH",
    "copy all of these files to the other node: they are the same on both",
    "start the agent on both: understudy install, or understudy agent",
  ];
  io.out(`\nNext:\n${steps.map((step, i) => `${i + 1}. ${step}\n`).join("")}`);
  return 0;
}

function parseNode(text: string): { name: string; addresses: string[] } {
  const [, name, addresses] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined) {
    throw new Failure(
      `--nodes: expected NAME=ADDRESS or NAME=ADDRESS,ADDRESS, found ${JSON.stringify(text)}`,
      2,
    );
  }
  return { name, addresses: addresses.split(",") };
}
