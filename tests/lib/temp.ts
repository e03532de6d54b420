/** Temporary directories that go away with the test. */

import { workDirectory } from "./paths.ts";

/** Makes a directory under the tests' work directory; the caller removes it. */
export async function makeTempDir(prefix = "test"): Promise<string> {
  const parent = `${workDirectory}/tmp`;
  await Deno.mkdir(parent, { recursive: true });
  return await Deno.makeTempDir({ dir: parent, prefix: `${prefix}-` });
}

/** Runs `body` with a fresh directory and removes it afterwards, also after a failure. */
export async function withTempDir<T>(body: (directory: string) => T | Promise<T>): Promise<T> {
  const directory = await makeTempDir();
  try {
    return await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
