/** Talking to the service manager (sd_notify(3)), and keeping its variables from our children. */

import { Errno, O } from "./constants.ts";
import { errnoName } from "./errno.ts";
import { allocate, type Libc } from "./libc.ts";

// sys/socket.h
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of struct sockaddr_un (linux/un.h) */
const pathMax = 108;

/** Variables by which service managers address one process: for it alone, never for its children. */
const privateVariables = [
  "NOTIFY_SOCKET",
  "WATCHDOG_USEC",
  "WATCHDOG_PID",
  "LISTEN_FDS",
  "LISTEN_PID",
  "LISTEN_FDNAMES",
  "LISTEN_PIDFDID",
  "FDSTORE",
  "MAINPID",
  "MANAGERPID",
  "MANAGERPIDFDID",
  "INVOCATION_ID",
  "JOURNAL_STREAM",
  "SYSTEMD_EXEC_PID",
  "MEMORY_PRESSURE_WATCH",
  "MEMORY_PRESSURE_WRITE",
  "CREDENTIALS_DIRECTORY",
];

/**
 * The environment for a process that we start: `base` (ours by default) without what a service
 * manager meant for us, plus `extra`. Pass it with `clearEnv: true`.
 */
export function childEnvironment(
  extra: Record<string, string> = {},
  base: Record<string, string> = Deno.env.toObject(),
): Record<string, string> {
  const environment = { ...base };
  for (const name of privateVariables) delete environment[name];
  return { ...environment, ...extra };
}

/** The datagram address of a notify socket: a path, or `@name` for an abstract one. */
export function unixAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path);
  const abstract = path.startsWith("@");
  if (!abstract && !path.startsWith("/")) {
    throw new RangeError(`Not a socket path: "${path}"; it begins with / or @`);
  }
  if (name.length + (abstract ? 0 : 1) > pathMax) {
    throw new RangeError(`Socket path longer than ${pathMax} bytes: "${path}"`);
  }
  const address = new Uint8Array(2 + name.length + (abstract ? 0 : 1));
  address[0] = AF_UNIX; // sa_family_t in host order, little-endian
  address.set(name, 2);
  if (abstract) address[2] = 0;
  return address;
}

/**
 * Sends a state such as `READY=1`, `WATCHDOG=1` or `STATUS=...` (lines, sd_notify(3)) to the service
 * manager. Never blocks.
 *
 * @returns undefined when it was sent, else why not; `no service manager` where none asked for it.
 */
export function notifyServiceManager(
  libc: Libc,
  state: string,
  socketPath: string | undefined = Deno.env.get("NOTIFY_SOCKET"),
): string | undefined {
  if (!socketPath) return "no service manager";
  let address: Uint8Array;
  try {
    address = unixAddress(socketPath);
  } catch (error) {
    return (error as Error).message;
  }
  const { sys } = libc;
  const fd = sys.socket(AF_UNIX, SOCK_DGRAM | O.CLOEXEC | O.NONBLOCK, 0);
  if (fd < 0) return `socket: ${errnoName(libc.errno())}`;
  const text = new TextEncoder().encode(state);
  const memory = allocate(128 + text.length);
  memory.bytes.set(address, 0);
  memory.bytes.set(text, 128);
  let sent: number;
  let cause = 0;
  do {
    sent = sys.sendto(
      fd,
      memory.address + 128,
      text.length,
      MSG_NOSIGNAL,
      memory.address,
      address.length,
    );
    if (sent < 0) cause = libc.errno();
  } while (sent < 0 && cause === Errno.EINTR);
  sys.close(fd);
  memory.bytes[0] = 0; // used once more, so that it outlives the call
  return sent < 0 ? `${socketPath}: ${errnoName(cause)}` : undefined;
}

/** Milliseconds within which the service manager wants `WATCHDOG=1`; undefined where it does not. */
export function watchdogInterval(
  environment: Record<string, string> = Deno.env.toObject(),
  pid: number = Deno.pid,
): number | undefined {
  const { WATCHDOG_USEC: micros, WATCHDOG_PID: wanted } = environment;
  if (!micros || !/^\d+$/.test(micros) || (wanted && Number(wanted) !== pid)) return undefined;
  const interval = Number(micros) / 1000;
  return interval > 0 ? interval : undefined;
}
