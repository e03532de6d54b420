/// <reference lib="deno.worker" />
/** One helper thread of `offload_threads.ts`: carries out blocking calls until its commands end. */

import { Errno } from "./constants.ts";
import { allocate, openLibc } from "./libc.ts";
import { commandSize, completionSize, operation } from "./offload_threads.ts";

self.onmessage = ({ data }: MessageEvent<{ commands: number; completions: number }>) => {
  serve(data.commands, data.completions);
  self.close();
};

function serve(commands: number, completions: number): void {
  const libc = openLibc();
  const { sys } = libc;
  const command = allocate(commandSize);
  const completion = allocate(completionSize);
  const carryOut = (): number => {
    const { view } = command;
    const fd = view.getInt32(8, true);
    const length = view.getUint32(12, true);
    const address = view.getFloat64(16, true);
    const offset = view.getFloat64(24, true);
    switch (view.getInt32(0, true)) {
      case operation.nothing:
        return 0;
      case operation.fsync:
        return sys.fsync(fd);
      case operation.fdatasync:
        return sys.fdatasync(fd);
      case operation.syncfs:
        return sys.syncfs(fd);
      case operation.read:
        return offset < 0 ? sys.read(fd, address, length) : sys.pread(fd, address, length, offset);
      default:
        return offset < 0
          ? sys.write(fd, address, length)
          : sys.pwrite(fd, address, length, offset);
    }
  };
  for (;;) {
    const taken = sys.read(commands, command.address, commandSize);
    if (taken < 0 && libc.errno() === Errno.EINTR) continue;
    if (taken !== commandSize) break; // the other side closed
    let result = carryOut();
    if (result < 0) result = -libc.errno();
    completion.view.setInt32(0, command.view.getInt32(4, true), true);
    completion.view.setInt32(4, result, true);
    while (sys.write(completions, completion.address, completionSize) < 0) {
      if (libc.errno() !== Errno.EINTR) break;
    }
  }
  sys.close(commands);
}
