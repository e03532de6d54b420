/** Places in the repository that tests use. */

/** The repository's top directory. */
export const repository = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/**
 * Where tests put files, on a file system of the machine with extended attributes and sparse files.
 * `UNDERSTUDY_TEST_DIR` moves it.
 */
export const workDirectory = Deno.env.get("UNDERSTUDY_TEST_DIR") ?? `${repository}/tests/.work`;

/** The binary under test: `UNDERSTUDY_BIN`, or what `scripts/build` wrote. */
export const binary = Deno.env.get("UNDERSTUDY_BIN") ?? `${repository}/dist/understudy`;
