/** Commands in tests: an agent that is none on a real socket, and streams that are kept. */

import { createApp } from "../http/app.ts";
import { serve } from "../http/server.ts";
import { type FakeFacade, fakeFacade, token } from "../http/testing.ts";
import type { ModuleStatus } from "../http/facade.ts";
import { withTempDir } from "../../tests/lib/temp.ts";
import { main } from "./main.ts";
import type { Io } from "./io.ts";

export interface RunOptions {
  terminal?: boolean;
  color?: boolean;
  env?: Record<string, string>;
  /** what a person types; undefined: nobody is there */
  typed?: string;
  signal?: AbortSignal;
  /** hears everything written to standard output so far, after each write */
  onOut?: (all: string) => void;
}

export interface Result {
  code: number;
  out: string;
  err: string;
}

/** Runs a command in this process. */
export async function run(args: string[], options: RunOptions = {}): Promise<Result> {
  const { terminal = false, color = false, env = {}, typed } = options;
  const result = { code: -1, out: "", err: "" };
  const io: Io = {
    out(text) {
      result.out += text;
      options.onOut?.(result.out);
    },
    err: (text) => void (result.err += text),
    terminal,
    color: { out: color, err: color },
    env: (name) => env[name],
    ask(question) {
      if (typed !== undefined) result.err += question;
      return Promise.resolve(typed);
    },
    signal: options.signal ?? new AbortController().signal,
  };
  result.code = await main(args, io);
  return result;
}

export interface Site {
  /** a configuration whose agent is the fake one */
  config: string;
  directory: string;
  facade: FakeFacade;
  url: string;
  /** runs a command with `--config` of this site */
  run(args: string[], options?: RunOptions): Promise<Result>;
  /** ends the agent; nobody answers from then on */
  stopAgent(): Promise<void>;
  /** starts one again, at the same address */
  startAgent(): void;
}

/** A directory with a configuration and an agent behind it, for the time of `body`. */
export async function withSite(
  modules: ModuleStatus[] | undefined,
  body: (site: Site) => Promise<void>,
): Promise<void> {
  await withTempDir(async (directory) => {
    const facade = fakeFacade(modules);
    const fail = (error: unknown) => {
      throw error;
    };
    let server = serve(createApp(facade, token), "127.0.0.1:0", fail);
    const { port } = server;
    const config = `${directory}/config.toml`;
    await Deno.writeTextFile(`${directory}/http.token`, `${token}\n`, { mode: 0o600 });
    await Deno.writeTextFile(config, configText(directory, port));
    const site: Site = {
      config,
      directory,
      facade,
      url: `http://127.0.0.1:${port}`,
      run: (args, options) => run(["--config", config, ...args], options),
      stopAgent: () => server.close(),
      startAgent() {
        server = serve(createApp(facade, token), `127.0.0.1:${port}`, fail);
      },
    };
    try {
      await body(site);
    } finally {
      await server.close();
    }
  });
}

function configText(directory: string, port: number): string {
  return `state_dir = "${directory}/state"
modules_dir = "${directory}/modules"
[[nodes]]
name = "alpha"
addresses = ["10.77.0.1"]
[[nodes]]
name = "beta"
addresses = ["10.77.0.2"]
[cluster]
secret_file = "${directory}/cluster.key"
[http]
listen = "127.0.0.1:${port}"
token_file = "${directory}/http.token"
`;
}
