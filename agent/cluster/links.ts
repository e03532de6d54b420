/** What both sides of the links share. */

import type { Libc } from "../platform/linux/libc.ts";
import type { LinkHandle } from "../mirror/messages.ts";
import type { Clock, HelloAnswer } from "./control.ts";
import type { ClusterEvent } from "./events.ts";
import type { HandshakeContext } from "./handshake.ts";
import type { Hello } from "./hello.ts";
import type { Poller } from "./poller.ts";
import type { IpAddress, Sockets } from "./sockets.ts";
import type { Throttle } from "./throttle.ts";
import type { WireContext } from "./wire.ts";

/** One network between this node and a peer. */
export interface Network {
  /** position in both nodes' `addresses` */
  network: number;
  local: IpAddress;
  remote: IpAddress;
}

export interface LinkContext {
  libc: Libc;
  poller: Poller;
  sockets: Sockets;
  clock: Clock;
  node: string;
  instance: string;
  port: number;
  /** the other nodes, each with the networks it is reached over */
  peers: ReadonlyMap<string, readonly Network[]>;
  /** for a whole handshake */
  deadlineMs: number;
  /** how long sent bytes may stay unacknowledged on a link before the kernel gives it up */
  failAfterMs: number;
  handshake(wire: WireContext): HandshakeContext;
  throttle: Throttle;
  onEvent(event: ClusterEvent): void;
  onHello(hello: Hello): HelloAnswer | Promise<HelloAnswer>;
  onLink(link: LinkHandle, hello: Hello): void;
  /** the control is being closed: what fails now is nobody's fault */
  closing(): boolean;
}
