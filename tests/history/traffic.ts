/**
 * One process of a history: performs the operations of its seed, one after the other, until it is
 * ended, meets an error or has done as many as it was told.
 *
 * Run as `deno run -A traffic.ts '<TrafficOptions as JSON>'`.
 */

import { createModel, type Mode } from "./model.ts";
import { apply } from "./model.ts";
import { generate, markAttribute, topOf } from "./generate.ts";
import { createPerformer } from "./perform.ts";
import { createProgressLog } from "./progress.ts";
import { createRandom } from "./random.ts";

export interface TrafficOptions {
  seed: number;
  process: number;
  round: number;
  mode: Mode;
  /** the mirrored directories, as this process sees them */
  directories: string[];
  /** its progress file, outside of them */
  progress: string;
  /** default: no limit */
  operations?: number;
}

/** Does the work; returns the errno of the error that ended it, undefined where none did. */
export function runTraffic(options: TrafficOptions): number | undefined {
  const { seed, process, mode, directories, operations = Infinity } = options;
  const random = createRandom(seed);
  const model = createModel(process, mode, directories.length);
  const top = topOf(options.round, process);
  const performer = createPerformer(directories);
  const log = createProgressLog(options.progress);
  try {
    while (model.index < operations) {
      const operation = generate(model, random, top);
      log.begin();
      const failure = performer.perform(model, operation);
      if (failure !== undefined) {
        log.fail(failure.errno, failure.written);
        return failure.errno;
      }
      apply(model, operation);
      if (operation.kind === "mark" && (mode === "write" || operation.sync)) {
        log.mark(operation.at.directory, operation.value);
      } else if (operation.kind === "attribute" && operation.name === markAttribute) {
        // After the places of the directories.
        log.mark(directories.length, Number(operation.value));
      }
      log.acknowledge();
    }
    return undefined;
  } finally {
    log.close();
    performer.close();
  }
}

if (import.meta.main) {
  const errno = runTraffic(JSON.parse(Deno.args[0]));
  if (errno !== undefined) Deno.exit(3);
}
