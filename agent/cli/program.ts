/** The commands and their options. What a command does is loaded when it runs. */

import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { version } from "../version.ts";
import { type Context, DEFAULT_CONFIG, type GlobalOptions } from "./context.ts";
import { Failure } from "./failure.ts";
import type { Io } from "./io.ts";

const EXIT_CODES = `
Exit codes: 0 done; 1 refused or failed, the reason is on standard error; 2 used in a wrong way;
3 from "status MODULE" where the module neither serves nor could take over.
`;

/** Runs the command that the arguments name. @returns its exit code */
export async function runProgram(args: string[], io: Io): Promise<number> {
  let code = 0;
  const program = createProgram(io, (result) => code = result);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // help and version that were asked for are no errors; anything else is wrong usage
    return error.exitCode === 0 ? 0 : 2;
  }
  return code;
}

/** The commands, over `io`; `done` hears the exit code of the one that ran. */
export function createProgram(io: Io, done: (code: number) => void): Command {
  const program = new Command("understudy");
  program
    .description("Keeps an application's directories identical on two servers.")
    .version(`understudy ${version}`, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "explain a command")
    .addOption(
      new Option("--config <file>", "the configuration").env("UNDERSTUDY_CONFIG")
        .default(DEFAULT_CONFIG),
    )
    .option(
      "--node <name>",
      "which node this machine is; otherwise found by UNDERSTUDY_NODE or its host name",
    )
    .option("--url <url>", "talk to the agent there, not to this machine's", parseUrl)
    .option("--token-file <file>", "the token for orders, instead of http.token_file")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: io.out,
      writeErr: io.err,
      getOutHasColors: () => io.color.out,
      getErrHasColors: () => io.color.err,
      outputError: (text, write) => write(text.replace(/^error: /, "understudy: ")),
    })
    .showHelpAfterError("See understudy --help")
    .exitOverride()
    .addHelpText("after", EXIT_CODES);

  const context = (): Context => ({ io, options: program.opts<GlobalOptions>() });

  program.command("agent")
    .description("run the agent in the foreground")
    .action(async () => {
      const { config, node } = context().options;
      const { runAgent } = await import("../agent.ts");
      done(await runAgent(node === undefined ? { config } : { config, node }));
    });

  program.command("status")
    .description("show the state of all modules, or of one")
    .argument("[module]")
    .option("--json", "as JSON", false)
    .option("--watch", "look again every second", false)
    .action(async (module: string | undefined, options: { json: boolean; watch: boolean }) => {
      const { status } = await import("./status.ts");
      done(await status(context(), module === undefined ? options : { ...options, module }));
    });

  const orders = [
    ["start", "start a module"],
    ["stop", "stop a module on this node; its directories become plain"],
    ["restart", "stop and start a module, with its definition on disk"],
    ["second", "follow the peer, though this node holds files of its own that are replaced then"],
  ] as const;
  for (const [verb, description] of orders) {
    program.command(verb).description(description).argument("<module>")
      .action(async (module: string) => {
        const { order } = await import("./order.ts");
        done(await order(context(), { module, verb, force: false, yes: false }));
      });
  }

  program.command("prim")
    .description("this node's data is the good one: serve it")
    .argument("<module>")
    .option("--force", "also where acknowledged writes may be missing here", false)
    .option("--yes", "do not ask what --force would ask", false)
    .action(async (module: string, options: { force: boolean; yes: boolean }) => {
      const { order } = await import("./order.ts");
      done(await order(context(), { module, verb: "prim", ...options }));
    });

  program.command("wait")
    .description("wait until a module is in a state")
    .argument("<module>")
    .option("--state <state>", "STOP, WAIT, ALONE, PRIM or SECOND; several with commas between")
    .option("--timeout <time>", "how long, such as 30s or 10m", "60s")
    .option("--ready", "and until it is ready there", false)
    .action(
      async (module: string, options: { state?: string; timeout: string; ready: boolean }) => {
        const { parseStates, parseTimeout, wait } = await import("./wait.ts");
        const { state, ready } = options;
        if (state === undefined && !ready) throw new Failure("wait needs --state or --ready", 2);
        const states = state === undefined ? [] : parseStates(state);
        const timeout = parseTimeout(options.timeout);
        done(await wait(context(), { module, states, ready, timeout }));
      },
    );

  program.command("events")
    .description("show what happened, of all modules or of one")
    .argument("[module]")
    .option("--follow", "go on with each new one", false)
    .option("--last <number>", "only the last ones", parseCount)
    .option("--json", "as a JSON array; with --follow an object a line", false)
    .action(
      async (
        module: string | undefined,
        options: { follow: boolean; json: boolean; last?: number },
      ) => {
        const { events } = await import("./events.ts");
        done(await events(context(), module === undefined ? options : { ...options, module }));
      },
    );

  program.command("check-config")
    .description("say what is wrong in the configuration and the modules")
    .option("--json", "as JSON", false)
    .addOption(
      new Option("--schema [file]", "print the JSON Schema of config.toml, or of a module file")
        .choices(["agent", "module"]).preset("agent"),
    )
    .action(async (options: { json: boolean; schema?: "agent" | "module" }) => {
      const { check } = await import("./check.ts");
      done(check(context(), { json: options.json, schema: options.schema }));
    });

  program.command("init")
    .description("write a first configuration, the cluster secret and the token")
    .option(
      "--nodes <name=address,...>",
      "the two nodes, each with an address per network",
      collect,
    )
    .option("--state-dir <directory>", "where the agent keeps its state")
    .action(async (options: { nodes?: string[]; stateDir?: string }) => {
      const { init } = await import("./init.ts");
      done(init(context(), { ...options, nodes: options.nodes ?? [] }));
    });

  addModuleCommands(program, context, done);

  program.command("install")
    .description("write a systemd unit for the agent")
    .option("--print", "only print it", false)
    .option("--directory <directory>", "where units are", "/etc/systemd/system")
    .action(async (options: { print: boolean; directory: string }) => {
      const { install } = await import("./install.ts");
      done(await install(context(), options));
    });

  program.command("completions")
    .description("print a script that completes commands in a shell")
    .argument("<shell>", "bash, zsh or fish", (text: string) => {
      if (text === "bash" || text === "zsh" || text === "fish") return text;
      throw new InvalidArgumentError("There are bash, zsh and fish.");
    })
    .action(async (shell: "bash" | "zsh" | "fish") => {
      const { completions } = await import("./completions.ts");
      io.out(completions(program, shell));
      done(0);
    });

  program.command("version")
    .description("print the version, and what it was made from")
    .option("--json", "as JSON", false)
    .action(async (options: { json: boolean }) => {
      const { showVersion } = await import("./version.ts");
      done(showVersion(context(), options));
    });
  return program;
}

function addModuleCommands(
  program: Command,
  context: () => Context,
  done: (code: number) => void,
): void {
  const module = program.command("module").description("list, show and make module definitions");
  module.command("list")
    .description("list the modules of this machine, or the ready-made definitions")
    .option("--ready-made", "the definitions that come with Understudy", false)
    .option("--json", "as JSON", false)
    .action(async (options: { readyMade: boolean; json: boolean }) => {
      const { listModules } = await import("./modules.ts");
      done(listModules(context(), options));
    });
  module.command("show")
    .description("print the definition of a module, or a ready-made one")
    .argument("<name>")
    .action(async (name: string) => {
      const { showModule } = await import("./modules.ts");
      done(showModule(context(), name));
    });
  module.command("new")
    .description("write a definition into the modules' directory")
    .argument("<name>")
    .option("--directory <path>", "a directory to mirror; may be given again", collect)
    .addOption(
      new Option("--from <name>", "a ready-made definition, to be edited (default: generic)")
        .conflicts("directory"),
    )
    .option("--print", "only print it", false)
    .action(
      async (name: string, options: { directory?: string[]; from?: string; print: boolean }) => {
        const { newModule } = await import("./modules.ts");
        const { directory: directories = [], ...rest } = options;
        done(newModule(context(), { name, directories, ...rest }));
      },
    );
}

function collect(value: string, previous: string[] | undefined): string[] {
  return [...previous ?? [], value];
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("A whole number is expected.");
  return Number(text);
}

function parseUrl(text: string): string {
  // without a scheme: host:port
  const url = /^https?:\/\//.test(text) ? text : `http://${text}`;
  if (!URL.canParse(url)) throw new InvalidArgumentError("Expected such as http://10.77.0.1:9010.");
  return url.replace(/\/$/, "");
}
