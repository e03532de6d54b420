/** Platforms on which Understudy starts, and says what it cannot do there yet. */

import { type CapabilityName, type Platform, UnsupportedError } from "./platform.ts";

const names: Partial<Record<typeof Deno.build.os, string>> = {
  windows: "Windows",
  darwin: "macOS",
  freebsd: "FreeBSD",
};

/** Everything that needs the operating system is refused, in one sentence. */
export function openUnsupported(os: typeof Deno.build.os): Platform {
  const name = names[os] ?? os;
  const reason = `Understudy cannot mirror on this platform yet: ${name}. It runs on Linux ` +
    "(kernel 5.10 or later, x86-64 or arm64)";
  const refuse = (): never => {
    throw new UnsupportedError(reason);
  };
  const all: CapabilityName[] = ["mirror", "virtual-ip", "realtime", "kernel-offload"];
  return {
    system: `${name} (${Deno.build.arch})`,
    capabilities: () => all.map((name) => ({ name, available: false, reason })),
    require: refuse,
    monotonic: () => performance.now(),
    openFileLimit: () => Infinity,
    raisePriority: () => reason,
    lock: refuse,
    directoryUsers: () => Promise.reject(new UnsupportedError(reason)),
    clearDeadMounts: () => Promise.reject(new UnsupportedError(reason)),
    endMounts: () => [],
    mountProblem: () => undefined,
    virtualAddress: refuse,
    announceTimes: [],
    notifyServiceManager: () => "no service manager",
  };
}
