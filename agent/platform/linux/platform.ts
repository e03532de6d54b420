/** Linux behind the platform's interface. */

import { formatNetwork } from "../ip.ts";
import {
  type CapabilityName,
  type CapabilityState,
  type Platform,
  UnsupportedError,
} from "../platform.ts";
import { Errno, O } from "./constants.ts";
import { errnoName } from "./errno.ts";
import { type Libc, openLibc, withStrings } from "./libc.ts";
import { lockFile } from "./locks.ts";
import { clearDeadMounts, endMounts, slaveNamespaceProblem } from "./mounts.ts";
import { openRing } from "./offload_ring.ts";
import { hasCapability, openClock, openFileLimit, setRealtimePriority } from "./process.ts";
import { notifyServiceManager } from "./systemd.ts";
import { directoryUsers } from "./users.ts";
import { addVip, announceTimes, announceVip, findVip, hasVip, probeVip, removeVip } from "./vip.ts";

/** The oldest kernel whose FUSE and io_uring have what the data path takes for granted. */
const oldestKernel = [5, 10] as const;

/** Low among the real-time priorities: above every ordinary process, below the kernel's own threads. */
const heartbeatPriority = 10;

/** Opens libc on the first call that needs it, so that `version` and the like run without. */
export function openLinux(): Platform {
  let opened: Libc | undefined;
  const libc = (): Libc => {
    try {
      return opened ??= openLibc();
    } catch (error) {
      const text = (error as Error).message;
      throw new UnsupportedError(`Understudy needs the GNU C library (libc.so.6): ${text}`);
    }
  };
  let clock: (() => number) | undefined;
  const capabilities = (): CapabilityState[] => {
    const state = (name: CapabilityName, reason: string | undefined) => ({
      name,
      available: reason === undefined,
      reason: reason ?? "",
    });
    return [
      state("mirror", attempt(() => mirrorProblem(libc()))),
      state("virtual-ip", lacking("CAP_NET_ADMIN") ?? lacking("CAP_NET_RAW")),
      state("realtime", lacking("CAP_SYS_NICE")),
      state("kernel-offload", attempt(() => offloadProblem(libc()))),
    ];
  };
  return {
    system: `Linux ${Deno.osRelease()} (${Deno.build.arch})`,
    capabilities,
    require(name) {
      const missing = capabilities().find((state) => state.name === name && !state.available);
      if (missing) throw new UnsupportedError(missing.reason);
    },
    monotonic: () => (clock ??= openClock(libc(), "monotonic"))(),
    openFileLimit: () => openFileLimit(libc()).soft,
    raisePriority() {
      const result = setRealtimePriority(libc(), heartbeatPriority);
      return result.granted ? undefined : result.reason;
    },
    lock: (path) => lockFile(libc(), path),
    directoryUsers: (directories, ignore) => directoryUsers(libc(), directories, ignore),
    clearDeadMounts: (sourcePrefix) => clearDeadMounts(libc(), sourcePrefix),
    endMounts: (source) => endMounts(libc(), source),
    mountProblem: slaveNamespaceProblem,
    virtualAddress(address, interfaceName) {
      const vip = findVip(libc(), address, interfaceName);
      return {
        address: formatNetwork(vip.network),
        interfaceName: vip.link.name,
        held: () => hasVip(libc(), vip.network),
        take: () => addVip(libc(), vip),
        giveUp: () => removeVip(libc(), vip.network),
        announce: () => announceVip(libc(), vip),
        probe: (signal) => probeVip(libc(), vip, signal ? { signal } : {}),
      };
    },
    announceTimes,
    notifyServiceManager: (state) => notifyServiceManager(libc(), state),
  };
}

/** The problem that `find` finds, or that it cannot even look. */
function attempt(find: () => string | undefined): string | undefined {
  try {
    return find();
  } catch (error) {
    return (error as Error).message;
  }
}

function lacking(name: Parameters<typeof hasCapability>[0]): string | undefined {
  if (hasCapability(name)) return undefined;
  return Deno.uid() === 0
    ? `Understudy lacks ${name}: run it on the host, or give the container that capability`
    : `Understudy lacks ${name}: run it as root`;
}

/** Why this process cannot mirror here; undefined where it can. */
function mirrorProblem(libc: Libc): string | undefined {
  const kernel = kernelProblem(Deno.osRelease());
  if (kernel !== undefined) return kernel;
  if (Deno.uid() !== 0) {
    return "Mirroring needs root: run the agent with sudo, or as a system service";
  }
  const missing = lacking("CAP_SYS_ADMIN") ?? lacking("CAP_DAC_READ_SEARCH");
  if (missing !== undefined) return missing;
  const fd = withStrings(
    ["/dev/fuse"],
    ([path]) => libc.sys.open(path, O.RDWR | O.CLOEXEC, 0),
  );
  if (fd >= 0) {
    libc.sys.close(fd);
    return undefined;
  }
  const cause = libc.errno();
  if (cause === Errno.ENOENT || cause === Errno.ENODEV || cause === Errno.ENXIO) {
    return "There is no /dev/fuse: load it with `modprobe fuse`, or remove PrivateDevices from the " +
      "service";
  }
  return `/dev/fuse cannot be opened (${
    errnoName(cause)
  }): allow that device to the service or the ` +
    "container";
}

/** Why a kernel release such as `6.1.0-28-amd64` is too old; undefined where it is not. */
export function kernelProblem(release: string): string | undefined {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (!match) return undefined; // unknown: what it lacks will show
  const [major, minor] = [Number(match[1]), Number(match[2])];
  const [wantedMajor, wantedMinor] = oldestKernel;
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return undefined;
  return `Linux ${release} is too old: Understudy needs ${wantedMajor}.${wantedMinor} or later`;
}

function offloadProblem(libc: Libc): string | undefined {
  const ring = openRing(libc, 8);
  if (ring === undefined) {
    return "io_uring cannot be used: helper threads take its place. " +
      "Set the sysctl kernel.io_uring_disabled to 0 or 1 for full speed";
  }
  ring.close();
  return undefined;
}
