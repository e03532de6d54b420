/**
 * Where the records stand: `modules/<name>/record.json` in the state directory.
 *
 * A record is written to a second file, flushed, and put in place by a rename, which is flushed too:
 * after a loss of power either the old one or the new one is there, whole. A checksum tells a damaged
 * file from one that only looks strange.
 *
 * The state directory often shares its disk with the data, and a full disk is no reason to lose the
 * power to decide. So the second file stands ready with its space, and a record always fills it.
 */

import { emptyRecord, type ModuleRecord, parseRecord } from "./record.ts";

/** A record that cannot be read or written. The message says what to do. */
export class StateError extends Error {
  override readonly name = "StateError";
}

const fileName = "record.json";
const spareName = "record.json.new";
/** Bytes of a record's file: enough for all the ancestors that are kept. */
const fileSize = 32 * 1024;

/** The directory of a module's durable state. */
export function moduleDirectory(stateDir: string, module: string): string {
  return `${stateDir}/modules/${module}`;
}

/** The modules that this state directory knows of, whether or not their files are still there. */
export async function knownModules(stateDir: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(`${stateDir}/modules`)) {
      if (entry.isDirectory) names.push(entry.name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names.sort();
}

/**
 * Reads a module's record; an empty one where there is none yet.
 *
 * @throws {StateError} where there is one that cannot be used
 */
export async function readRecord(
  stateDir: string,
  module: string,
  node: string,
): Promise<ModuleRecord> {
  const file = `${moduleDirectory(stateDir, module)}/${fileName}`;
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return emptyRecord(module, node);
    throw new StateError(`${file} cannot be read: ${(error as Error).message}`);
  }
  const refuse = (why: string) =>
    new StateError(
      `${file} cannot be used: ${why}. What this node knew of the module's history is lost: move ` +
        `the file away, and tell this node to follow with \`understudy second ${module}\``,
    );
  let value: { checksum?: unknown; record?: unknown };
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse("it is no JSON");
  }
  const checksum = await checksumOf(JSON.stringify(value?.record ?? null));
  if (value?.checksum !== checksum) throw refuse("its checksum is wrong");
  const record = parseRecord(value.record, module, node);
  if (typeof record === "string") throw refuse(record);
  return record;
}

/**
 * Replaces a module's record. When this has returned, the record outlives a loss of power. Call
 * {@link reserveRecord} after it.
 *
 * @throws {StateError}
 */
export async function writeRecord(stateDir: string, record: ModuleRecord): Promise<void> {
  const directory = moduleDirectory(stateDir, record.module);
  const text = JSON.stringify(record);
  const content = `{"checksum":"${await checksumOf(text)}",\n"record":${text}}`;
  const bytes = new TextEncoder().encode(`${content.padEnd(fileSize - 1)}\n`);
  try {
    await makeDirectory(stateDir, record.module);
    const spare = `${directory}/${spareName}`;
    {
      using file = await Deno.open(spare, { write: true, create: true, mode: 0o600 });
      await writeAll(file, bytes);
      await file.truncate(bytes.length);
      await file.sync();
    }
    await Deno.rename(spare, `${directory}/${fileName}`);
    await flushDirectory(directory);
  } catch (error) {
    throw new StateError(
      `${directory}/${fileName}: ${(error as Error).message}. Make room or repair the disk that ` +
        "state_dir is on",
    );
  }
}

/**
 * Makes sure that the records to come have their space: as long as there is a record, the one before
 * gives up its own to the next. Where there is none, the next record takes its chance.
 */
export async function reserveRecord(stateDir: string, record: ModuleRecord): Promise<void> {
  const directory = moduleDirectory(stateDir, record.module);
  try {
    await Deno.stat(`${directory}/${fileName}`);
  } catch {
    // Said when it matters: when a record has to be written.
    await writeRecord(stateDir, record).catch(() => {});
  }
  await reserve(directory);
}

async function reserve(directory: string): Promise<void> {
  try {
    using file = await Deno.open(`${directory}/${spareName}`, {
      write: true,
      create: true,
      mode: 0o600,
    });
    if ((await file.stat()).size >= fileSize) return;
    await writeAll(file, new Uint8Array(fileSize));
    await file.sync();
    await flushDirectory(directory);
  } catch {
    // full or failing: said when a record cannot be written
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

async function makeDirectory(stateDir: string, module: string): Promise<void> {
  const directory = moduleDirectory(stateDir, module);
  try {
    if ((await Deno.stat(directory)).isDirectory) return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
  await flushDirectory(`${stateDir}/modules`);
  await flushDirectory(stateDir);
}

/** Makes the names in a directory durable. */
async function flushDirectory(path: string): Promise<void> {
  using directory = await Deno.open(path);
  await directory.sync();
}

async function checksumOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex();
}
