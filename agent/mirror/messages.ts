/**
 * What the agent's main thread and a module's data-path worker say to each other.
 *
 * The worker sits in a synchronous loop: after every `postMessage` the main thread writes to the
 * worker's wake-up descriptor (`ready.wakeFd`), else the message waits until something else happens.
 * Statistics do not travel as messages: see `stats.ts` for the shared memory both sides read.
 */

/** One mirrored directory. */
export interface DirectorySpec {
  path: string;
  exclude: string[];
}

/** An authenticated connection, handed over by the control thread; the worker owns it from then on. */
export interface LinkHandle {
  /** non-blocking TCP socket, handshake finished */
  fd: number;
  /** address of OpenSSL's `SSL` as a decimal string, or "0" where encryption is off */
  ssl: string;
  peer: string;
  /** the local address it runs over, for status */
  address: string;
  /** this node's part: the source sends operations, the sink applies them */
  role: "source" | "sink";
}

export type Command =
  /** Mounts over the directories, read-only: states WAIT and SECOND. Answered by `opened` or `failed`. */
  | {
    kind: "open";
    module: string;
    directories: DirectorySpec[];
    sync: "write" | "fsync";
    stats: SharedArrayBuffer;
    ackTimeoutMs: number;
    /** a fuse source name that identifies our mounts in mountinfo: "understudy:<module>" */
    sourceName: string;
    /** true: frames carry checksums of their own because the link has no TLS */
    checksums: boolean;
    /** descriptors that each of the two inode tables may keep open; found from the limits where absent */
    descriptorLimit?: number;
  }
  /** Starts to serve alone: read-write. Answered by `serving`. */
  | { kind: "serve" }
  /** Uses this connection; replaces a lost one. */
  | { kind: "link"; link: LinkHandle }
  /** Drops the connection. A source keeps holding what is not acknowledged until `alone`. */
  | { kind: "unlink"; reason: string }
  /** Source without a link: release what is held, go on without a peer. Answered by `alone`. */
  | { kind: "alone" }
  /**
   * What the sink reported (`sink-in-sync`, or `sink-outdated` at the start of a resync) is noted durably:
   * it goes on. Without this word it applies nothing further.
   */
  | { kind: "sink-noted" }
  /** Stops serving: held requests fail with EIO, mounts go, follower mounts come. Answered by `following`. */
  | { kind: "follow" }
  /** Ends: held requests fail with EIO, mounts go. Answered by `closed`. */
  | { kind: "close" };

export type Report =
  | { kind: "ready"; wakeFd: number }
  | { kind: "opened"; warnings: string[] }
  | { kind: "serving" }
  | { kind: "alone" }
  | { kind: "following" }
  | { kind: "closed" }
  /** The connection broke or was dropped here. `lagging`: requests are held, `alone` is needed to go on. */
  | { kind: "link-lost"; role: "source" | "sink"; reason: string; lagging: boolean }
  /** Source: the peer applies nothing although it owes acknowledgements, for ackTimeoutMs. */
  | { kind: "ack-stalled"; owed: number }
  /** Source: resync has finished and every acknowledgement needs the sink from now on (PRIM). */
  | { kind: "in-sync" }
  /** Source: the stream goes on over a new link where the lost one broke off; still PRIM. */
  | { kind: "resumed" }
  /** Sink: the source declares us in sync; note it durably, then answer `sink-noted`. */
  | { kind: "sink-in-sync" }
  /**
   * Sink: this node's copy stops being usable as it is: a resync begins (`paused`: nothing is applied
   * until `sink-noted`), or an operation could not be applied here.
   */
  | { kind: "sink-outdated"; reason: string; paused: boolean }
  /** Source: resync progress, about once a second. */
  | { kind: "progress"; filesDone: number; bytesCompared: number; bytesSent: number; phase: string }
  /** A sentence for the events, at a level. */
  | { kind: "note"; level: "info" | "warning" | "error"; text: string }
  /** Cannot go on; the mounts are gone. */
  | { kind: "failed"; reason: string };
