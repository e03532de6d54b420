/** `understudy install`: the service manager's unit. */

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Context } from "./context.ts";
import { Failure } from "./failure.ts";
import { unit } from "./unit.ts";

export interface InstallOptions {
  /** write nothing */
  print: boolean;
  /** where units are */
  directory: string;
}

/** Where packages and people put the binary. */
const USUAL_PLACE = "/usr/local/bin/understudy";

export async function install({ io, options }: Context, wanted: InstallOptions): Promise<number> {
  // run from source this is Deno itself, which is not what a unit should start
  const program = Deno.build.standalone ? Deno.execPath() : USUAL_PLACE;
  const node = options.node ?? io.env("UNDERSTUDY_NODE");
  const config = resolve(options.config);
  const text = unit({ program, config, ...(node === undefined ? {} : { node }) });
  if (wanted.print) {
    io.out(text);
    return 0;
  }
  if (Deno.build.os !== "linux") {
    throw new Failure("`install` writes a systemd unit, and this system is not Linux");
  }
  const file = join(wanted.directory, "understudy.service");
  const before = existsSync(file) ? readFileSync(file, "utf8") : undefined;
  if (before !== text) write(file, wanted.directory, text);
  io.out(before === text ? `${file} is up to date\n` : `wrote ${file}\n`);
  if (!existsSync("/run/systemd/system")) {
    io.out("This machine does not run systemd: nothing was told of it.\n");
    return 0;
  }
  const reload = new Deno.Command("systemctl", { args: ["daemon-reload"], stdout: "null" });
  if (!(await reload.output()).success) {
    throw new Failure(`${file} is written, but \`systemctl daemon-reload\` failed: run it`);
  }
  io.out("\nStart it now and at every boot: systemctl enable --now understudy\n");
  return 0;
}

function write(file: string, directory: string, text: string): void {
  try {
    mkdirSync(directory, { recursive: true });
    const temporary = `${file}.${Deno.pid}`;
    writeFileSync(temporary, text, { mode: 0o644 });
    renameSync(temporary, file);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Failure(`The unit cannot be written (${message}). Is this run as root?`);
  }
}
