/**
 * Two data paths in this process, joined by a socket pair: the mirror without agents, hosts and network.
 */
import { allocate, type Libc, openLibc } from "../../agent/platform/linux/libc.ts";
import type { Command, Report } from "../../agent/mirror/messages.ts";
import { createStats } from "../../agent/mirror/stats.ts";

export interface DataPath {
  name: string;
  worker: Worker;
  stats: Float64Array;
  reports: Report[];
  directories: string[];
  send(c: Command): void;
  /** the first report of this kind that came after `from` (default: from now on) */
  expect<K extends Report["kind"]>(kind: K, ms?: number): Promise<Extract<Report, { kind: K }>>;
  close(): Promise<void>;
}

const one = allocate(128);
one.view.setBigUint64(0, 1n, true);

export interface DataPathOptions {
  sync?: "write" | "fsync";
  exclude?: string[];
  ackTimeoutMs?: number;
  log?: boolean;
  /** see the `open` command */
  descriptorLimit?: number;
  /** patterns by directory, where they are not the same for all */
  excludes?: string[][];
}

/** Starts a data path over the directories, following. */
export async function openDataPath(
  libc: Libc,
  name: string,
  directories: string[],
  options: DataPathOptions = {},
): Promise<DataPath> {
  const worker = new Worker(new URL("../../agent/mirror/worker.ts", import.meta.url).href, {
    type: "module",
  });
  const shared = createStats();
  const reports: Report[] = [];
  const waiting: { kind: string; done: (r: Report) => void }[] = [];
  let wakeFd = -1;
  const path: DataPath = {
    name,
    worker,
    stats: new Float64Array(shared),
    reports,
    directories,
    send(c) {
      worker.postMessage(c);
      if (wakeFd >= 0) libc.sys.write(wakeFd, one.address, 8);
    },
    expect(kind, ms = 10_000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error(`${name}: no report "${kind}"; seen: ${JSON.stringify(reports)}`));
        }, ms);
        waiting.push({
          kind,
          done: (r) => {
            clearTimeout(timer);
            resolve(r as never);
          },
        });
      });
    },
    async close() {
      const closed = path.expect("closed");
      path.send({ kind: "close" });
      await closed;
      worker.terminate();
    },
  };
  worker.onmessage = (e: MessageEvent<Report>) => {
    const r = e.data;
    reports.push(r);
    if (options.log) console.error(name, JSON.stringify(r));
    for (let i = 0; i < waiting.length; i++) {
      if (waiting[i].kind === r.kind) {
        waiting.splice(i, 1)[0].done(r);
        break;
      }
    }
    // As the agent does once it has written its record.
    if (r.kind === "sink-outdated" && r.paused) path.send({ kind: "sink-noted" });
    if (r.kind === "sink-in-sync") path.send({ kind: "sink-noted" });
  };
  wakeFd = (await path.expect("ready")).wakeFd;
  const opened = path.expect("opened");
  path.send({
    kind: "open",
    module: name,
    directories: directories.map((d, i) => ({
      path: d,
      exclude: options.excludes?.[i] ?? options.exclude ?? [],
    })),
    sync: options.sync ?? "write",
    stats: shared,
    ackTimeoutMs: options.ackTimeoutMs ?? 5000,
    sourceName: `understudy:test-${name}`,
    checksums: true,
    ...(options.descriptorLimit ? { descriptorLimit: options.descriptorLimit } : {}),
  });
  await opened;
  return path;
}

/** Joins the two: `source` gives, `sink` takes. */
export function join(libc: Libc, source: DataPath, sink: DataPath): void {
  const pair = allocate(128);
  // AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
  if (libc.sys.socketpair(1, 1 | 0o4000 | 0o2000000, 0, pair.address) < 0) {
    throw new Error(`socketpair: ${libc.errno()}`);
  }
  const fds = new Int32Array(pair.bytes.buffer, 0, 2);
  const link = (fd: number, role: "source" | "sink") => ({
    kind: "link" as const,
    link: { fd, ssl: "0", peer: role === "source" ? "b" : "a", address: "socketpair", role },
  });
  source.send(link(fds[0], "source"));
  sink.send(link(fds[1], "sink"));
}

export { openLibc };
