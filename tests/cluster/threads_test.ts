/** Links that were made on the main thread and are used on others, as data paths do. */

import assert from "node:assert/strict";
import { openLibc } from "../../agent/platform/linux/libc.ts";
import { connectPair } from "../../agent/cluster/testing.ts";
import type { Work } from "./link_worker.ts";

const libc = openLibc();
let port = 29880;

function work(message: Work): { result: Promise<string>; end: () => void } {
  const worker = new Worker(new URL("./link_worker.ts", import.meta.url), { type: "module" });
  const result = new Promise<string>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
  });
  worker.postMessage(message);
  return { result, end: () => worker.terminate() };
}

for (const encryption of ["on", "off"] as const) {
  Deno.test(`links work on other threads than the one that made them, encryption ${encryption}`, async () => {
    // Several pairs at once, so that the threads' error queues and tables meet.
    const pairs = [
      await connectPair(libc, port++, encryption),
      await connectPair(libc, port++, encryption),
    ];
    const runs = pairs.map(([accepted, dialled], i) => {
      const piece = [8272, 1 << 20][i];
      return [
        work({ link: accepted, bytes: "echo", piece: 1 << 20 }),
        work({ link: dialled, bytes: piece * 40, piece }),
      ];
    });
    for (const [echo, sender] of runs) {
      assert.equal(await sender.result, "");
      assert.equal(await echo.result, "The peer closed the connection");
      echo.end();
      sender.end();
    }
  });
}
