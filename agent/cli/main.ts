/** The command line: from arguments to an exit code. Loads only what the command needs. */

import { DEFAULT_CONFIG } from "./context.ts";
import { Failure } from "./failure.ts";
import { BrokenPipe, type Io, processIo } from "./io.ts";

/**
 * Runs a command.
 *
 * @returns the exit code: 0 done; 1 refused or failed; 2 used in a wrong way; 3 see `status`
 */
export async function main(args: string[], io: Io = processIo()): Promise<number> {
  try {
    const agent = agentArguments(args, io.env);
    if (agent !== undefined) {
      // The daemon stays for months: it carries nothing of the command line in its memory.
      const { runAgent } = await import("../agent.ts");
      return await runAgent(agent);
    }
    const { runProgram } = await import("./program.ts");
    return await runProgram(args, io);
  } catch (error) {
    if (error instanceof BrokenPipe) return 0;
    if (error instanceof Failure) {
      io.err(`understudy: ${error.message}\n`);
      return error.code;
    }
    const { stack, message } = error instanceof Error ? error : new Error(String(error));
    const detail = io.env("UNDERSTUDY_DEBUG") === undefined ? message : stack ?? message;
    io.err(`understudy: unexpected failure: ${detail}\n`);
    return 1;
  }
}

export interface AgentArguments {
  config: string;
  node?: string;
}

/**
 * The arguments of a plain `understudy agent [--config FILE] [--node NAME]`; undefined where there
 * is anything else to understand.
 */
export function agentArguments(
  args: string[],
  env: (name: string) => string | undefined,
): AgentArguments | undefined {
  let config = env("UNDERSTUDY_CONFIG") || DEFAULT_CONFIG;
  let node: string | undefined; // UNDERSTUDY_NODE is the agent's own to read
  let named = false;
  for (let i = 0; i < args.length; i++) {
    const [, option, inline] = /^--(config|node)(?:=(.*))?$/s.exec(args[i]) ?? [];
    if (option !== undefined) {
      const value = inline ?? args[++i];
      if (value === undefined || value === "" || value.startsWith("-")) return undefined;
      if (option === "config") config = value;
      else node = value;
    } else if (args[i] === "agent" && !named) named = true;
    else return undefined;
  }
  if (!named) return undefined;
  return node === undefined ? { config } : { config, node };
}
