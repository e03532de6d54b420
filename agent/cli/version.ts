/** `understudy version`. */

import { build } from "../version.ts";
import type { Context } from "./context.ts";

export function showVersion({ io }: Context, { json }: { json: boolean }): number {
  const { version, commit, runtime } = build();
  const system = `${Deno.build.os} ${Deno.build.arch}`;
  if (json) {
    const { deno } = Deno.version;
    io.out(`${JSON.stringify({ version, commit, runtime, deno, system }, null, 2)}\n`);
  } else io.out(`understudy ${version} (commit ${commit}, ${system})\n`);
  return 0;
}
