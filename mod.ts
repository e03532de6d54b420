/** Understudy: the entry point of the one binary. */
import { main } from "./agent/cli/main.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
