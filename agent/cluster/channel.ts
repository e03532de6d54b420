/**
 * One authenticated link as the data path uses it: bytes out of and into fixed memory, never
 * blocking, without an allocation per call.
 */

import type { Libc } from "../platform/linux/libc.ts";
import type { LinkHandle } from "../mirror/messages.ts";

export interface Channel {
  readonly fd: number;
  /**
   * Takes bytes to be sent: the number taken (> 0), 0 = would block, -1 = broken (see `reason`).
   * What was taken need not be offered again. With `more` the bytes may wait for those that follow:
   * the last call of a batch is made without it.
   */
  send(address: number, length: number, more?: boolean): number;
  /** bytes read (> 0), 0 = would block, -1 = broken or closed (see `reason`) */
  receive(address: number, length: number): number;
  /** true when bytes may be readable without the socket becoming readable (TLS buffers) */
  pending(): boolean;
  /** poll events the channel needs besides its users' wishes: what it has taken may wait for POLLOUT */
  wants(): number;
  /** Sends what the channel itself holds; true when nothing is left. Call it on POLLOUT. */
  flush(): boolean;
  /** why the last call returned -1, in a sentence */
  reason(): string;
  /** Closes the socket and frees what belongs to it. */
  close(): void;
}

/** Opens a handed-over link on the calling thread: plain or TLS, as the link says. */
export function openChannel(_libc: Libc, _link: LinkHandle): Channel {
  throw new Error("The interface is published ahead of its implementation");
}
