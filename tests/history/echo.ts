/**
 * A process that reads the marks of the others in the first directory and writes each to a file in the
 * last one. It reads with O_DIRECT, past the kernel's cache: so it sees a mark that is not
 * acknowledged yet, and its own write is later than that mark in the order of the mirror. A tree that
 * holds the echo must hold the mark.
 *
 * Run as `deno run -A echo.ts '<EchoOptions as JSON>'`.
 */

import { bytePath, openFiles, OpenFlag } from "../lab/files.ts";
import { markName, topOf } from "./generate.ts";
import type { Mode } from "./model.ts";
import { markBytes } from "./payload.ts";
import { createProgressLog, maxMarks, readProgress } from "./progress.ts";
import { pause } from "../lib/wait.ts";

export interface EchoOptions {
  round: number;
  mode: Mode;
  directories: string[];
  /** whose marks are echoed: 0 to processes - 1 */
  processes: number;
  /** its own progress file: `marks` holds the acknowledged echoes by process */
  progress: string;
}

/** The directory of the echoes, in the last mirrored directory. */
export function echoTop(round: number): string {
  return `r${round}echo`;
}

const files = openFiles();

/** O_DIRECT wants memory and length in units of the block size: a page does. */
const page = 4096;

async function runEcho(options: EchoOptions): Promise<void> {
  const { sys, errno } = files.libc;
  const { directories, processes, round } = options;
  if (processes > maxMarks) throw new RangeError(`At most ${maxMarks} processes`);
  const last = directories.at(-1)!;
  // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS: page-aligned memory.
  const memory = Number(sys.mmap(0, page, 3, 0x22, -1, 0n));
  const view = new DataView(
    Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(BigInt(memory))!, page),
  );
  const log = createProgressLog(options.progress);
  const fail = (): never => {
    log.fail(errno(), 0);
    Deno.exit(3);
  };
  await Deno.mkdir(`${last}/${echoTop(round)}`).catch(fail);
  const readers: number[] = [];
  const echoed: number[] = Array(processes).fill(0);
  while (true) {
    let news = false;
    for (let process = 0; process < processes; process++) {
      if (readers[process] === undefined) {
        const mark = `${directories[0]}/${topOf(round, process)}/${markName}`;
        try {
          readers[process] = files.open(bytePath(mark), OpenFlag.readOnly | OpenFlag.direct);
        } catch {
          // Not made yet. An error that lasts is met again by the writers.
          continue;
        }
      }
      const count = sys.pread(readers[process], memory, page, 0n);
      if (count < 0) fail();
      if (count < 8) continue;
      const value = Number(view.getBigUint64(0, true));
      if (value === echoed[process]) continue;
      news = true;
      log.begin();
      const file = bytePath(`${last}/${echoTop(round)}/${process}`);
      let fd: number;
      try {
        fd = files.open(file, OpenFlag.writeOnly | OpenFlag.create, 0o644);
      } catch {
        return fail();
      }
      new Uint8Array(view.buffer).set(markBytes(value));
      if (sys.pwrite(fd, memory, 8, 0n) !== 8) fail();
      if (sys.close(fd) !== 0) fail();
      echoed[process] = value;
      if (options.mode === "write") log.mark(process, value);
      log.acknowledge();
    }
    if (!news) await pause(1);
  }
}

/** The acknowledged echoes by process. */
export function acknowledgedEchoes(progress: string): number[] {
  return readProgress(progress)?.marks ?? Array(maxMarks).fill(0);
}

if (import.meta.main) await runEcho(JSON.parse(Deno.args[0]));
