/** Understudy: the entry point of the one binary. */
import { version } from "./agent/version.ts";

if (import.meta.main) console.log(`understudy ${version}`);
