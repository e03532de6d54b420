/** The work that every system gets, the same for all. */

import { output } from "./host.ts";
import { createDatabase, pgbench } from "./postgres.ts";
import type { System } from "./system.ts";

export interface Scale {
  /** of one time-based run, in seconds */
  seconds: number;
  /** MiB of the files under random reads and writes, all together */
  randomMiB: number;
  /** MiB of a new file */
  sequentialMiB: number;
  /** number of small files */
  files: number;
  /** at most so many seconds for a phase of the small files */
  filesSeconds: number;
  /** pgbench scale factor */
  pgbenchScale: number;
}

export const fullScale: Scale = {
  seconds: 5,
  randomMiB: 256,
  sequentialMiB: 512,
  files: 10_000,
  filesSeconds: 120,
  pgbenchScale: 10,
};

export const quickScale: Scale = {
  seconds: 1.5,
  randomMiB: 64,
  sequentialMiB: 256,
  files: 2_000,
  filesSeconds: 2,
  pgbenchScale: 1,
};

/** One number that a run of a case gives: higher is better. */
export interface Measurement {
  row: string;
  value: number;
  /** median and 99th percentile of one operation's time in microseconds, where the tool tells */
  latency?: { p50: number; p99: number };
}

export interface Case {
  name: string;
  /** the rows of the table that it fills, in order */
  rows: { name: string; title: string; unit: string }[];
  /** run without being named */
  standard: boolean;
  /** part of `--quick` */
  quick: boolean;
  /** Makes what the runs need, once per system, outside any measured time. */
  prepare(system: System, plan: Plan): Promise<void>;
  run(system: System, plan: Plan): Promise<Measurement[]>;
}

export interface Plan {
  scale: Scale;
  /** counts from 0 */
  round: number;
  /** a directory outside every system, the same for all */
  scratch: string;
}

const writers = 16;

/** Runs fio in the system's directory and returns its job's result, all jobs taken together. */
async function fio(system: System, options: string[]): Promise<FioJob> {
  const common = [
    `--directory=${system.directory}`,
    "--ioengine=psync",
    "--fallocate=none",
    "--group_reporting",
    "--output-format=json",
  ];
  const text = await system.run(["fio", "--name=bench", ...common, ...options]);
  const job = JSON.parse(text.slice(text.indexOf("{"))).jobs[0];
  if (job.error) throw new Error(`fio on ${system.name} met error ${job.error}`);
  return job;
}

interface FioTimes {
  percentile?: Record<string, number>;
}

interface FioSide {
  iops: number;
  bw_bytes: number;
  clat_ns: FioTimes;
}

interface FioJob {
  read: FioSide;
  write: FioSide;
  /** fsyncs */
  sync: { lat_ns: FioTimes };
  error: number;
}

/** A row in operations a second, with the times of those that `times` tells of. */
function operations(row: string, side: FioSide, { percentile }: FioTimes): Measurement[] {
  if (!percentile) return [{ row, value: side.iops }];
  const latency = {
    p50: percentile["50.000000"] / 1000,
    p99: percentile["99.000000"] / 1000,
  };
  return [{ row, value: side.iops, latency }];
}

/** One file for one process, and files of the same total size for sixteen. */
async function layOut(system: System, { scale }: Plan): Promise<void> {
  const write = ["--rw=write", "--bs=1M"];
  await fio(system, [...write, "--filename=random", `--size=${scale.randomMiB}M`]);
}

async function layOutMany(system: System, { scale }: Plan): Promise<void> {
  const size = `--size=${scale.randomMiB / writers}M`;
  const each = [`--numjobs=${writers}`, "--filename_format=own.$jobnum"];
  await fio(system, ["--rw=write", "--bs=1M", size, ...each]);
}

function timed({ scale, round }: Plan): string[] {
  const seed = `--randseed=${4711 + round}`;
  return ["--time_based", `--runtime=${scale.seconds}s`, "--norandommap", seed];
}

function randomWriteCase(
  name: string,
  title: string,
  layout: (system: System, plan: Plan) => Promise<void>,
  options: (scale: Scale) => string[],
  choice: { standard: boolean; quick: boolean },
): Case {
  return {
    name,
    rows: [{ name, title, unit: "IOPS" }],
    ...choice,
    prepare: layout,
    async run(system, plan) {
      const work = ["--rw=randwrite", "--bs=8k", ...options(plan.scale), ...timed(plan)];
      const job = await fio(system, work);
      // Where every write is followed by an fsync, it is the fsync's time that counts.
      return operations(
        name,
        job.write,
        work.includes("--fsync=1") ? job.sync.lat_ns : job.write.clat_ns,
      );
    },
  };
}

const oneFile = (scale: Scale) => ["--filename=random", `--size=${scale.randomMiB}M`];

/**
 * Has so many MiB in hand for the page cache. A virtual machine that gives free memory back to its
 * host gets it anew at a tenth of the speed, and would measure that instead of the system.
 */
async function touchMemory(mebibytes: number): Promise<void> {
  const file = await Deno.makeTempFile({ dir: "/dev/shm", prefix: "understudy-bench-" });
  try {
    await output([], [
      "dd",
      "if=/dev/zero",
      `of=${file}`,
      "bs=1M",
      `count=${mebibytes}`,
      "status=none",
    ]);
  } finally {
    await Deno.remove(file);
  }
}

/** Takes every clean page and name out of the machine's caches: reads after it come from the disk. */
async function dropCaches(): Promise<void> {
  await output([], ["sync"]);
  await Deno.writeTextFile("/proc/sys/vm/drop_caches", "3");
}

export const cases: Case[] = [
  randomWriteCase("write1", "8 KiB random write, 1 writer", layOut, oneFile, {
    standard: true,
    quick: true,
  }),
  randomWriteCase(
    "write16",
    "8 KiB random write, 16 writers, own files",
    layOutMany,
    (scale) => [
      `--numjobs=${writers}`,
      "--filename_format=own.$jobnum",
      `--size=${scale.randomMiB / writers}M`,
    ],
    { standard: true, quick: true },
  ),
  randomWriteCase(
    "write16one",
    "8 KiB random write, 16 writers, one file",
    layOut,
    (scale) => [...oneFile(scale), `--numjobs=${writers}`],
    { standard: false, quick: false },
  ),
  {
    name: "sequential",
    rows: [{ name: "sequential", title: "1 MiB sequential write", unit: "MB/s" }],
    standard: true,
    quick: true,
    prepare: layOut,
    async run(system, plan) {
      const work = ["--rw=write", "--bs=1M", ...oneFile(plan.scale)];
      const { write } = await fio(system, [...work, ...timed(plan)]);
      return [{ row: "sequential", value: write.bw_bytes / 1e6 }];
    },
  },
  {
    name: "newfile",
    rows: [{ name: "newfile", title: "1 MiB sequential write, new file", unit: "MB/s" }],
    standard: false,
    quick: false,
    prepare: () => Promise.resolve(),
    async run(system, { scale }) {
      await touchMemory(4 * scale.sequentialMiB);
      const file = ["--filename=new", `--size=${scale.sequentialMiB}M`, "--unlink=1"];
      const { write } = await fio(system, ["--rw=write", "--bs=1M", ...file]);
      return [{ row: "newfile", value: write.bw_bytes / 1e6 }];
    },
  },
  {
    name: "files",
    rows: [
      { name: "create", title: "small files: create, write 4 KiB, close", unit: "files/s" },
      { name: "stat", title: "small files: stat", unit: "files/s" },
      { name: "rename", title: "small files: rename", unit: "files/s" },
      { name: "unlink", title: "small files: unlink", unit: "files/s" },
    ],
    standard: true,
    quick: true,
    prepare: () => Promise.resolve(),
    async run(system, plan) {
      await touchMemory(256);
      const limits = [String(plan.scale.files), String(plan.scale.filesSeconds)];
      const work = [`${plan.scratch}/files`, `${system.directory}/files`, ...limits];
      const phases: Record<string, { count: number; seconds: number }> = JSON.parse(
        await system.run(work),
      );
      return Object.entries(phases).map(([row, { count, seconds }]) => ({
        row,
        value: count / seconds,
      }));
    },
  },
  randomWriteCase(
    "fsync",
    "8 KiB random write, fsync after each",
    layOut,
    (scale) => [...oneFile(scale), "--fsync=1"],
    { standard: true, quick: false },
  ),
  {
    name: "cached",
    rows: [{ name: "cached", title: "8 KiB random read, cached", unit: "IOPS" }],
    standard: true,
    quick: false,
    prepare: layOut,
    async run(system, plan) {
      await fio(system, ["--bs=1M", "--rw=read", "--invalidate=0", ...oneFile(plan.scale)]);
      const work = ["--rw=randread", "--bs=8k", "--invalidate=0", ...oneFile(plan.scale)];
      const { read } = await fio(system, [...work, ...timed(plan)]);
      return operations("cached", read, read.clat_ns);
    },
  },
  {
    name: "uncached",
    rows: [{ name: "uncached", title: "1 MiB sequential read, uncached", unit: "MB/s" }],
    standard: true,
    quick: false,
    prepare: layOut,
    async run(system, { scale }) {
      await dropCaches();
      const job = await fio(system, ["--rw=read", "--bs=1M", ...oneFile(scale)]);
      return [{ row: "uncached", value: job.read.bw_bytes / 1e6 }];
    },
  },
  {
    name: "pgbench",
    rows: [{ name: "pgbench", title: "pgbench TPC-B, 8 clients", unit: "TPS" }],
    standard: false,
    quick: false,
    prepare: (system, plan) => createDatabase(system, plan.scratch, plan.scale.pgbenchScale),
    async run(system, plan) {
      return [{ row: "pgbench", value: await pgbench(system, plan.scratch, plan.scale.seconds) }];
    },
  },
];
