/** PostgreSQL's own regression tests, from Debian's source package of the installed version. */

import { workDirectory } from "../lib/paths.ts";
import { run } from "../lab/process.ts";
import { binaries, type Postgres } from "./postgresql.ts";

const minutes = 60_000;

/** What a run needs; the same for every run. */
export interface RegressionSuite {
  /** `src/test/regress` of the source */
  input: string;
  /** modules that the tests load */
  libraries: string;
  /** the program that runs the tests */
  program: string;
}

/**
 * Fetches the source package and the server's headers with apt, and compiles the module that the
 * tests load. Kept in the tests' work directory. Throws where apt or the compiler fails.
 */
export async function prepareRegression(): Promise<RegressionSuite> {
  if (binaries === undefined) throw new Error("PostgreSQL's server is not installed");
  const installed = binaries.split("/").at(-2)!;
  const server = `postgresql-${installed}`;
  const query = await run([], ["dpkg-query", "-W", "-f", "${Version}", server]);
  const directory = `${workDirectory}/regression-${query.stdout}`;
  const suite: RegressionSuite = {
    input: `${directory}/regress`,
    libraries: `${directory}/libraries`,
    program: `/usr/lib/postgresql/${installed}/lib/pgxs/src/test/regress/pg_regress`,
  };
  const finished = `${suite.libraries}/regress.so`;
  if (await Deno.stat(finished).then(() => true, () => false)) return suite;
  const script = `
    directory=$1 server=$2 version=$3 libraries=$4
    rm -rf "$directory"
    mkdir -p "$directory/apt/parts" "$directory/apt/lists/partial" "$directory/headers" "$libraries"
    cd "$directory"
    # Debian's own sources, asked for source packages, beside the machine's lists.
    for file in /etc/apt/sources.list.d/*.sources; do
      [ ! -e "$file" ] || sed 's/^Types: *deb$/Types: deb-src/' "$file" >"apt/parts/\${file##*/}"
    done
    if [ -s /etc/apt/sources.list ]; then
      sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >apt/parts/own.list
    fi
    touch apt/none
    options=(-qq -o "Dir::Etc::sourcelist=$PWD/apt/none" -o "Dir::Etc::sourceparts=$PWD/apt/parts"
      -o "Dir::State::lists=$PWD/apt/lists" -o APT::Sandbox::User=root)
    apt-get "\${options[@]}" update
    apt-get "\${options[@]}" source --download-only "$server=$version"
    tar -xf *.orig.tar.* --wildcards '*/src/test/regress'
    mv */src/test/regress regress
    apt-get -qq -o APT::Sandbox::User=root download "\${server/postgresql-/postgresql-server-dev-}=$version"
    dpkg -x postgresql-server-dev-*.deb headers
    cp "/usr/lib/postgresql/\${server#postgresql-}/lib/"{autoinc,refint}.so "$libraries"
    cc -O1 -fPIC -shared -I "$PWD/headers/usr/include/postgresql/\${server#postgresql-}/server" \\
      -I regress -o regress.so regress/regress.c
    mv regress.so "$libraries"
  `;
  const bash = ["bash", "-ec", script, "bash", directory, server, query.stdout, suite.libraries];
  await run([], bash, { timeout: 10 * minutes });
  return suite;
}

/**
 * Runs all the tests in a server that `startPostgres` started; their files, a tablespace among them,
 * are below `output`. Returns the closing line; throws with the tests that failed.
 */
export async function runRegression(
  suite: RegressionSuite,
  postgres: Postgres,
  output: string,
): Promise<string> {
  const { host, socket } = postgres;
  // The tests read and write beside their own files: every run has a copy of its own.
  await host.run(
    `mkdir -p ${output}/out /tmp/regress && cp -r ${suite.input} ${suite.libraries} /tmp/regress && ` +
      `chown -R postgres ${output} /tmp/regress`,
  );
  const result = await postgres.run([
    "/usr/bin/env",
    "--chdir",
    `${output}/out`,
    suite.program,
    `--host=${socket}`,
    "--user=postgres",
    "--dbname=regression",
    `--bindir=${binaries}`,
    "--dlpath=/tmp/regress/libraries",
    "--inputdir=/tmp/regress/regress",
    `--outputdir=${output}/out`,
    "--schedule=/tmp/regress/regress/parallel_schedule",
    "--max-connections=8",
  ], 20 * minutes);
  return /All \d+ tests passed/.exec(result.stdout)?.[0] ?? result.stdout.slice(-2_000);
}
