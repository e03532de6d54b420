/**
 * Two data paths over fresh directories, driven through their whole life by a test: serve, join, cut,
 * join again, drain, close, compare.
 */
import assert from "node:assert/strict";
import { type CompareOptions, compareTrees, formatDifferences } from "../lab/compare.ts";
import { bytePath, openFiles, OpenFlag } from "../lab/files.ts";
import { makeTempDir } from "../lib/temp.ts";
import { pause, waitFor } from "../lib/wait.ts";
import { Stat } from "../../agent/mirror/stats.ts";
import type { Report } from "../../agent/mirror/messages.ts";
import { type DataPath, type DataPathOptions, join, openDataPath, openLibc } from "./pair.ts";

/** Opened once: a library opened within a test counts as a leak of that test. */
export const libc = openLibc();
const files = openFiles();

export interface RigOptions extends DataPathOptions {
  /** how many directories the module has; default 1 */
  directories?: number;
  /** fills the directories before anything is mounted: `dirs` of node a and node b */
  before?: (a: string[], b: string[]) => void | Promise<void>;
  /** where the nodes' directories are made instead of beneath the rig's own temporary directory */
  places?: { a: string[]; b: string[] };
}

export interface Rig {
  base: string;
  /** the directories of each node, where its data path mounts */
  a: string[];
  b: string[];
  /** the data path that serves, and the one that follows */
  source: DataPath;
  sink: DataPath;
  options: RigOptions;
  /** Starts both data paths, both following. */
  open(): Promise<void>;
  /** Lets the source serve. */
  serve(): Promise<void>;
  /** Joins the two and waits until they are in sync. */
  sync(ms?: number): Promise<void>;
  /** Joins the two. */
  join(): void;
  /** Cuts the link at the source. */
  cut(): Promise<void>;
  /** Goes on without the sink. */
  alone(): Promise<void>;
  /** Waits until the sink has applied all that happened, times included. */
  drained(ms?: number): Promise<void>;
  /** Drains, closes both and compares the plain directories. */
  finish(options?: CompareOptions): Promise<void>;
  /** Compares the plain directories of the closed nodes. */
  compare(options?: CompareOptions): Promise<void>;
  /** Closes both data paths where they are open. */
  close(): Promise<void>;
  /** The notes of level "error" that either has made. */
  errors(): string[];
}

/** Runs `body` with a rig that is cleaned up afterwards, whatever happens. */
export async function withRig(
  options: RigOptions,
  body: (rig: Rig) => Promise<void>,
): Promise<void> {
  const base = await makeTempDir("mirror");
  const count = options.directories ?? 1;
  const places = (node: string) => Array.from({ length: count }, (_, i) => `${base}/${node}${i}`);
  const a = options.places?.a ?? places("a");
  const b = options.places?.b ?? places("b");
  for (const directory of [...a, ...b]) await Deno.mkdir(directory, { recursive: true });
  const rig = createRig(base, a, b, options);
  try {
    await options.before?.(a, b);
    await body(rig);
    assert.deepEqual(rig.errors(), []);
  } catch (error) {
    const said = rig.errors();
    if (said.length > 0) throw new Error(`${said.join("\n")}\n${error}`, { cause: error });
    throw error;
  } finally {
    await rig.close();
    for (const directory of [...a, ...b]) detach(directory);
    await removeStubborn(base);
  }
}

function createRig(base: string, a: string[], b: string[], options: RigOptions): Rig {
  let open: DataPath[] = [];
  const seen: Report[][] = [];
  const rig: Rig = {
    base,
    a,
    b,
    source: undefined as unknown as DataPath,
    sink: undefined as unknown as DataPath,
    options,
    async open() {
      rig.source = await openDataPath(libc, "a", a, options);
      open.push(rig.source);
      rig.sink = await openDataPath(libc, "b", b, options);
      open.push(rig.sink);
      seen.push(rig.source.reports, rig.sink.reports);
    },
    async serve() {
      const serving = rig.source.expect("serving");
      rig.source.send({ kind: "serve" });
      await serving;
    },
    join: () => join(libc, rig.source, rig.sink),
    async sync(ms = 30_000) {
      const synced = rig.source.expect("in-sync", ms);
      rig.join();
      await synced;
    },
    async cut() {
      const lost = rig.source.expect("link-lost");
      rig.source.send({ kind: "unlink", reason: "cut by the test" });
      await lost;
    },
    async alone() {
      const alone = rig.source.expect("alone");
      rig.source.send({ kind: "alone" });
      await alone;
    },
    async drained(ms = 30_000) {
      let quiet = 0;
      let last = -1;
      await waitFor("the sink has applied everything", () => {
        const now = rig.source.stats[Stat.lastSeq];
        const still = now === last && rig.source.stats[Stat.appliedSeq] === now &&
          rig.source.stats[Stat.dirtyTimes] === 0 && rig.source.stats[Stat.held] === 0;
        last = now;
        quiet = still ? quiet + 1 : 0;
        return quiet > 3;
      }, { timeout: ms, interval: 25 });
    },
    async finish(compare) {
      await rig.drained();
      await rig.close();
      await rig.compare(compare);
    },
    async compare(compare) {
      const exclude = options.exclude ?? [];
      for (const [i, directory] of a.entries()) {
        await forgetPages(directory);
        await forgetPages(b[i]);
        const differences = await compareTrees(directory, b[i], { exclude, ...compare });
        assert.equal(formatDifferences(differences), "", `${directory} and ${b[i]} differ`);
      }
    },
    async close() {
      // The sink first: it must not take the source's end for a reason to complain.
      const all = open.reverse();
      open = [];
      for (const path of all) await path.close();
    },
    errors: () =>
      seen.flat().flatMap((r) => {
        if (r.kind === "note" && r.level === "error") return [r.text];
        return r.kind === "failed" ? [r.reason] : [];
      }),
  };
  return rig;
}

/** SYS_fadvise64 of asm/unistd.h, POSIX_FADV_DONTNEED of linux/fadvise.h */
const fadvise = Deno.build.arch === "aarch64" ? 223 : 221;
const dontNeed = 4;

/**
 * Writes everything back and drops it from the page cache: ext4 tells reserved space that somebody has
 * read from a hole (lseek(2), SEEK_DATA), and what the mirror has read differs on the two nodes.
 */
async function forgetPages(directory: string): Promise<void> {
  const top = files.open(bytePath(directory), OpenFlag.readOnly | OpenFlag.directory);
  libc.sys.syncfs(top);
  const visit = async (at: number): Promise<void> => {
    for (const name of files.list(at)) {
      const { type } = files.status(at, name);
      if (type !== "file" && type !== "directory") continue;
      const fd = files.open(name, OpenFlag.readOnly | OpenFlag.noFollow, 0, at);
      if (type === "directory") await visit(fd);
      else libc.sys.syscall(fadvise, fd, 0, 0, dontNeed, 0, 0);
      files.close(fd);
    }
    await pause(0);
  };
  await visit(top);
  files.close(top);
}

const path = new Uint8Array(4096);

/** Takes away what a failed test has left mounted. */
function detach(directory: string): void {
  const end = new TextEncoder().encodeInto(directory, path).written;
  path[end] = 0;
  const address = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(path)));
  while (libc.sys.umount2(address, 2 /* MNT_DETACH */) === 0);
}

/** Removes a tree in which files may be immutable. */
async function removeStubborn(directory: string): Promise<void> {
  const command = new Deno.Command("chattr", {
    args: ["-R", "-f", "-i", "-a", directory],
    stdout: "null",
    stderr: "null",
  });
  await command.output();
  await Deno.remove(directory, { recursive: true });
}

export { pause, Stat, waitFor };
