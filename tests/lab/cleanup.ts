/**
 * Removes what killed test runs left behind: `deno run -A tests/lab/cleanup.ts`. With a lab's
 * directory as argument, that lab is removed whoever owns it. Foreign things are never touched.
 */

import { labsDirectory, removeAbandonedLabs, removeLab } from "./registry.ts";

if (import.meta.main) {
  const [directory] = Deno.args;
  if (directory === undefined) {
    for (const removed of await removeAbandonedLabs()) console.log(`Removed ${removed}`);
  } else {
    if (!directory.startsWith(`${labsDirectory}/`)) {
      console.error(`Not a lab below ${labsDirectory}: ${directory}`);
      Deno.exit(2);
    }
    await removeLab(directory);
  }
}
