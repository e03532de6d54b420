/** A PostgreSQL server on a host of the lab, run by the user `postgres` of Debian's package. */

import type { Host } from "../lab/host.ts";
import type { Output } from "../lab/process.ts";
import { waitFor } from "../lib/wait.ts";

/** Where the newest installed server's programs are; undefined where there is none. */
export const binaries = findBinaries();

export interface Postgres {
  readonly host: Host;
  /** the directory with the server's socket, on the host */
  readonly socket: string;
  /** Runs a client program as `postgres`, connected by its environment. Timeout in milliseconds. */
  run(command: string[], timeout?: number): Promise<Output>;
  /** The result of statements, without headings, columns by `|`. */
  sql(database: string, statements: string): Promise<string>;
  /** Ends the server as an administrator does, waiting for its last checkpoint. */
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** false: the directory holds a cluster already, which may need recovery; default true */
  make?: boolean;
  /** lines for postgresql.conf */
  settings?: string[];
}

/**
 * Makes a cluster with checksums (unless there is one) and a database `bench`, and starts the server.
 * The parent of `directory` is given to `postgres`.
 */
export async function startPostgres(
  host: Host,
  directory: string,
  { make = true, settings = [] }: PostgresOptions = {},
): Promise<Postgres> {
  if (binaries === undefined) throw new Error("PostgreSQL's server is not installed");
  const socket = `/run/postgresql-${directory.replaceAll("/", "-")}`;
  await host.run(`mkdir -p ${socket} && chown postgres ${socket}`);
  const environment = { PGHOST: socket, PGUSER: "postgres", LC_ALL: "C.UTF-8" };
  const run = (command: string[], timeout = 60_000) => {
    const [program, ...args] = command;
    const path = program.includes("/") ? program : `${binaries}/${program}`;
    return host.run(["runuser", "-u", "postgres", "--", path, ...args], {
      env: environment,
      cwd: "/",
      timeout,
    });
  };
  if (make) {
    await host.run(`mkdir -p ${directory} && chown postgres:postgres ${directory}`);
    await run(
      ["initdb", "--data-checksums", "--encoding=UTF8", "--pgdata", directory],
      120_000,
    );
    const lines = [
      `unix_socket_directories = '${socket}'`,
      "listen_addresses = ''",
      "shared_buffers = 64MB",
      "checkpoint_timeout = 30s",
      "max_wal_size = 128MB",
      ...settings,
    ];
    await run([
      "/bin/sh",
      "-c",
      `cat >>'${directory}/postgresql.conf' <<'EOT'\n${lines.join("\n")}\nEOT`,
    ]);
  } else {
    const line = `unix_socket_directories = '${socket}'`;
    await run(["/bin/sh", "-c", `echo "${line}" >>'${directory}/postgresql.conf'`]);
  }
  const server = await host.spawn([
    "runuser",
    "-u",
    "postgres",
    "--",
    `${binaries}/postgres`,
    "-D",
    directory,
  ], { env: environment, cwd: "/" });
  let ended = false;
  server.status.then(() => ended = true);
  await waitFor(`PostgreSQL in ${directory}`, async () => {
    if (ended) return true;
    return (await host.run([
      "runuser",
      "-u",
      "postgres",
      "--",
      `${binaries}/pg_isready`,
      "--quiet",
    ], { env: environment, check: false })).code === 0;
  }, { timeout: 60_000, interval: 100 });
  if (ended) throw new Error(`PostgreSQL in ${directory} ended at its start: see the host's logs`);
  if (make) await run(["createdb", "bench"]);
  return {
    host,
    socket,
    run,
    async sql(database, statements) {
      const psql = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, "-c"];
      return (await run([...psql, statements])).stdout.trim();
    },
    async stop() {
      await run(["pg_ctl", "stop", "--mode=fast", "--wait", "--pgdata", directory], 120_000);
      await server.status;
    },
  };
}

function findBinaries(): string | undefined {
  try {
    const versions = [...Deno.readDirSync("/usr/lib/postgresql")].map(({ name }) => Number(name))
      .filter((version) => version > 0).sort((a, b) => b - a);
    for (const version of versions) {
      const path = `/usr/lib/postgresql/${version}/bin`;
      if (Deno.statSync(`${path}/initdb`).isFile) return path;
    }
  } catch {
    return undefined;
  }
  return undefined;
}
