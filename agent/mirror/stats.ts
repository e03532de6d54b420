/**
 * Counters that a module's data path shares with the main thread, without messages.
 *
 * One `Float64Array` over shared memory: the data path is its only writer, and a reader that sees a
 * value one step old is harmless. Doubles hold whole numbers up to 2^53, enough for bytes.
 */

export const Stat = {
  /** operations that changed something, since start */
  ops: 0,
  /** payload bytes of those operations */
  bytes: 1,
  /** sequence number of the last frame put into the stream (source) */
  lastSeq: 2,
  /** sequence number up to which the peer has applied (source) or this node has (sink) */
  appliedSeq: 3,
  /** operations whose reply waits for the peer */
  held: 4,
  /** bytes in the stream that the peer has not acknowledged */
  unackedBytes: 5,
  /** 1 while the follower or serving mounts stand */
  mounted: 6,
  /** inodes known to the data path */
  nodes: 7,
  /** open file descriptors of the data path */
  descriptors: 8,
  /** turns of the loop: standing still means that it hangs in a call */
  turns: 9,
  /** resync: files finished, bytes compared, bytes sent */
  resyncFiles: 10,
  resyncBytesCompared: 11,
  resyncBytesSent: 12,
  /** FUSE requests served, of any kind */
  requests: 13,
  /** bytes received and sent on the replication link */
  linkBytesIn: 14,
  linkBytesOut: 15,
  /** inodes whose times the peer does not have yet */
  dirtyTimes: 16,
  /** start of the histogram of acknowledgement times */
  ackHistogram: 32,
} as const;

/** Buckets of the acknowledgement histogram: bucket i counts times below 2^(i/4) microseconds. */
export const ackBuckets = 96;

const statLength = Stat.ackHistogram + ackBuckets;

/** Makes the shared memory of one module. */
export function createStats(): SharedArrayBuffer {
  return new SharedArrayBuffer(statLength * 8);
}

/** The bucket of a time in microseconds. */
export function ackBucket(micros: number): number {
  if (micros <= 1) return 0;
  return Math.min(ackBuckets - 1, Math.ceil(4 * Math.log2(micros)));
}

/**
 * A quantile of the acknowledgement times, in microseconds, between two readings of the histogram
 * (`before` may be empty for "since start"); undefined where nothing was acknowledged.
 */
export function ackQuantile(
  quantile: number,
  now: ArrayLike<number>,
  before?: ArrayLike<number>,
): number | undefined {
  const count = (i: number) =>
    now[Stat.ackHistogram + i] - (before ? before[Stat.ackHistogram + i] : 0);
  let total = 0;
  for (let i = 0; i < ackBuckets; i++) total += count(i);
  if (total <= 0) return undefined;
  let seen = 0;
  for (let i = 0; i < ackBuckets; i++) {
    seen += count(i);
    if (seen >= quantile * total) return Math.round(2 ** (i / 4));
  }
  return Math.round(2 ** ((ackBuckets - 1) / 4));
}
