/** `understudy start|stop|restart|prim|second`: an operator's order. */

import type { ModuleStatus, Verb } from "../http/facade.ts";
import { type Client, problem } from "./client.ts";
import { agentStatus, connect, moduleStatus } from "./connect.ts";
import type { Context } from "./context.ts";
import { Failure } from "./failure.ts";
import { createColors, visible } from "./format.ts";

export interface OrderOptions {
  module: string;
  verb: Verb;
  /** prim: also where acknowledged writes may be missing here */
  force: boolean;
  /** the answer to the question that `force` asks */
  yes: boolean;
}

export async function order(context: Context, options: OrderOptions): Promise<number> {
  const { module, verb, force } = options;
  using client = connect(context);
  if (verb === "prim" && force && !options.yes) await confirm(context, client, module);
  const answer = await client.post(
    `/modules/${encodeURIComponent(module)}/${verb}`,
    force ? { force } : {},
  );
  if (answer.status !== 200) throw problem(answer);
  const { text } = answer.body as { text?: string };
  context.io.out(`${visible(text ?? "done")}\n`);
  return 0;
}

/** @throws {Failure} unless somebody who was told what may be lost says yes */
async function confirm({ io }: Context, client: Client, name: string): Promise<void> {
  const [{ node }, module] = [await agentStatus(client), await moduleStatus(client, name)];
  const c = createColors(io.color.err);
  io.err(`${c.bold(c.yellow("This can lose data."))} ${visible(whatIsLost(node, module))}\n`);
  const answer = await io.ask("Go on? Type yes: ");
  if (answer === undefined) {
    throw new Failure("Nothing was done: nobody is here to ask. `--yes` says that it is meant");
  }
  if (!/^y(es)?$/i.test(answer)) throw new Failure("Nothing was done");
}

/** What `prim --force` gives up, as far as this node knows. */
export function whatIsLost(node: string, module: ModuleStatus): string {
  const { name, state, sync, generation, peer } = module;
  const copy = sync === "synced"
    ? `${node} was in sync: no write is known to be missing from its copy.`
    : sync === "syncing"
    ? `${node} is in the middle of a resync: its copy of ${name} is not whole, some files are old and some new.`
    : `${node} cannot show that its copy of ${name} holds every write.`;
  const other = peer.state == null
    ? `${peer.node} is not heard. If it serves ${name} now, two histories begin.`
    : peer.state === "ALONE" || peer.state === "PRIM"
    ? `${peer.node} serves ${name} at this moment (${peer.state}).`
    : `${peer.node} is ${peer.state}.`;
  return `The data that ${node} holds now (${state}, generation ${generation}) becomes the good ` +
    `data of ${name}. ${copy} ${other} Every write that only ${peer.node} holds is lost: its files ` +
    `are made like those of ${node} when it follows.`;
}
