/** PostgreSQL with its data directory on a system under comparison. */

import type { System } from "./system.ts";

/** Where Debian puts the programs of the newest PostgreSQL on this machine. */
async function programs(): Promise<string> {
  const versions = await Array.fromAsync(
    Deno.readDir("/usr/lib/postgresql"),
    (entry) => entry.name,
  );
  versions.sort((a, b) => Number(b) - Number(a));
  return `/usr/lib/postgresql/${versions[0]}/bin`;
}

/** Runs one of its programs as its user. */
async function postgres(system: System, program: string, args: string[]): Promise<string> {
  const user = ["runuser", "-u", "postgres", "--", "env", "-C", "/", "LC_ALL=C.UTF-8"];
  return await system.run([...user, `${await programs()}/${program}`, ...args]);
}

const dataOf = (system: System) => `${system.directory}/postgres`;
const socketsOf = (system: System, scratch: string) => `${scratch}/sockets-${system.name}`;

/** Runs `work` while the server runs, which starts and stops outside any measured time. */
async function withServer<T>(system: System, scratch: string, work: () => Promise<T>): Promise<T> {
  const sockets = socketsOf(system, scratch);
  const data = ["-D", dataOf(system), "-w"];
  const options = `-c listen_addresses='' -c unix_socket_directories='${sockets}'`;
  await postgres(system, "pg_ctl", [...data, "-o", options, "-l", `${sockets}/log`, "start"]);
  try {
    return await work();
  } finally {
    await postgres(system, "pg_ctl", [...data, "-m", "fast", "stop"]);
  }
}

/** A cluster with pgbench's tables at a scale factor (100,000 accounts each). */
export async function createDatabase(
  system: System,
  scratch: string,
  scale: number,
): Promise<void> {
  const own = ["install", "-d", "-m", "700", "-o", "postgres"];
  await system.run([...own, dataOf(system), socketsOf(system, scratch)]);
  await postgres(system, "initdb", ["-D", dataOf(system), "-A", "trust"]);
  const initialise = [
    "-h",
    socketsOf(system, scratch),
    "-i",
    "-q",
    "-s",
    String(scale),
    "postgres",
  ];
  await withServer(system, scratch, () => postgres(system, "pgbench", initialise));
}

/** Transactions a second of pgbench's TPC-B-like script by 8 clients. */
export async function pgbench(system: System, scratch: string, seconds: number): Promise<number> {
  const clients = ["-c", "8", "-j", "2", "-T", String(Math.ceil(seconds))];
  const arguments_ = ["-h", socketsOf(system, scratch), ...clients, "postgres"];
  const said = await withServer(system, scratch, () => postgres(system, "pgbench", arguments_));
  const rate = /^tps = ([0-9.]+)/m.exec(said);
  if (!rate) throw new Error(`pgbench on ${system.name} told no rate: ${said}`);
  return Number(rate[1]);
}
