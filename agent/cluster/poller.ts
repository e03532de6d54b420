/**
 * Waiting for many descriptors on the event loop: one `poll` at a time on a thread of the runtime's
 * pool, and a descriptor that wakes it when the set changes.
 *
 * A `nonblocking` FFI call costs about 35 µs where a synchronous one costs 0.2 µs, so this one call
 * is all that waits; everything else is called synchronously on non-blocking sockets.
 */

import { allocate, type Libc, type Memory } from "../platform/linux/libc.ts";
import { SystemError } from "../platform/linux/errno.ts";
import { POLLIN } from "../platform/linux/constants.ts";

/** One descriptor that is waited for. */
export interface Watch {
  /** Waits for other events from now on; 0 = for errors and hang-ups only. */
  change(events: number): void;
  /** Waits no more. The descriptor may be closed at once. */
  remove(): void;
}

export interface Poller {
  /** Calls `ready` on the event loop, again and again as long as one of the events is there. */
  watch(fd: number, events: number, ready: (revents: number) => void): Watch;
  /** Resolves once one of the events, an error or a hang-up is there; rejects with the signal's reason. */
  wait(fd: number, events: number, signal: AbortSignal): Promise<number>;
  /** Number of descriptors waited for. */
  size(): number;
  /** Ends; resolves when the thread is back. Waits that are left reject. */
  close(): Promise<void>;
}

interface Entry {
  fd: number;
  events: number;
  ready: (revents: number) => void;
  /** ends a pending {@link Poller.wait} */
  cancel: ((reason: Error) => void) | undefined;
}

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
/** struct pollfd: fd, events, revents */
const pollfdBytes = 8;

export function createPoller(libc: Libc): Poller {
  const waiting = Deno.dlopen("libc.so.6", {
    poll: { parameters: ["usize", "u64", "i32"], result: "i32", nonblocking: true },
  });
  // Deno's types ask for a BigInt where its FFI takes a number.
  const poll = waiting.symbols.poll as unknown as (
    set: number,
    count: number,
    timeout: number,
  ) => Promise<number>;
  const wakeFd = libc.sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wakeFd < 0) throw new SystemError("make", libc.errno(), "an eventfd");
  const one = allocate(128);
  one.view.setBigUint64(0, 1n, true);

  const entries = new Set<Entry>();
  let set: Memory = allocate(64 * pollfdBytes);
  let polled: Entry[] = [];
  let changed = true;
  let sleeping = false;
  let closed = false;

  function wake(): void {
    changed = true;
    if (sleeping) libc.sys.write(wakeFd, one.address, 8);
  }

  function rebuild(): void {
    changed = false;
    polled = [...entries];
    const bytes = (polled.length + 1) * pollfdBytes;
    if (bytes > set.bytes.length) set = allocate(bytes * 2);
    set.view.setInt32(0, wakeFd, true);
    set.view.setInt16(4, POLLIN, true);
    polled.forEach((entry, i) => {
      set.view.setInt32((i + 1) * pollfdBytes, entry.fd, true);
      set.view.setInt16((i + 1) * pollfdBytes + 4, entry.events, true);
    });
  }

  async function run(): Promise<void> {
    while (!closed) {
      if (changed) rebuild();
      sleeping = true;
      const ready = await poll(set.address, polled.length + 1, -1);
      sleeping = false;
      if (closed) break;
      if (ready < 0) {
        // EINTR, or a limit that has been lowered below the set's size: not to be hammered.
        await new Promise((resolve) => setTimeout(resolve, 10));
        continue;
      }
      if (set.view.getInt16(6, true) !== 0) libc.sys.read(wakeFd, one.address + 64, 8);
      for (let i = 0; i < polled.length; i++) {
        const revents = set.view.getInt16((i + 1) * pollfdBytes + 6, true);
        // A callback may have removed a later entry, whose descriptor may even be another one now.
        if (revents === 0 || !entries.has(polled[i])) continue;
        try {
          polled[i].ready(revents);
        } catch (error) {
          // A mistake in one callback is the program's to report; the others still wait.
          reportError(error);
        }
      }
      // Whoever was waiting goes on before the next poll, and mostly waits for the next thing.
      await null;
      await null;
    }
  }

  function add(entry: Entry): Watch {
    if (closed) throw new Error("The poller is closed");
    entries.add(entry);
    wake();
    return {
      change(events) {
        if (entry.events === events) return;
        entry.events = events;
        wake();
      },
      remove() {
        if (entries.delete(entry)) wake();
      },
    };
  }

  const running = run();
  return {
    watch: (fd, events, ready) => add({ fd, events, ready, cancel: undefined }),
    wait(fd, events, signal) {
      return new Promise<number>((resolve, reject) => {
        if (closed) return reject(new Error("The poller is closed"));
        if (signal.aborted) return reject(signal.reason);
        const end = () => {
          watch.remove();
          signal.removeEventListener("abort", abort);
        };
        const abort = () => {
          end();
          reject(signal.reason);
        };
        const watch = add({
          fd,
          events,
          ready(revents) {
            end();
            resolve(revents);
          },
          cancel(reason) {
            end();
            reject(reason);
          },
        });
        signal.addEventListener("abort", abort);
      });
    },
    size: () => entries.size,
    async close() {
      if (closed) return;
      closed = true;
      const reason = new Error("The cluster link was closed");
      for (const entry of [...entries]) entry.cancel?.(reason);
      entries.clear();
      libc.sys.write(wakeFd, one.address, 8);
      await running;
      libc.sys.close(wakeFd);
      waiting.close();
    },
  };
}
