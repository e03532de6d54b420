/**
 * Telling the kernel to drop cached pages: on a follower, whose files change behind the kernel's back, for
 * inodes that somebody has open (and may have mapped).
 *
 * The notification waits for pages under I/O, so it never runs on the loop's thread: the offload writes
 * it (FUSE_NOTIFY_INVAL_INODE, linux/fuse.h).
 */
import { allocate, type Memory } from "../platform/linux/libc.ts";
import { kernelId, type Server, Tag } from "./server.ts";
import { Notify, outHeader } from "./protocol.ts";

const slots = 32;
const slotSize = 64;

/** Room for notifications under way. */
export interface NotifySlots {
  memory: Memory;
  busy: boolean[];
}

export function createNotifySlots(): NotifySlots {
  return { memory: allocate((slots + 1) * slotSize), busy: new Array(slots).fill(false) };
}

/**
 * Has the kernel ask anew for an inode's attributes, which changed in a way that it does not know of. An
 * offset of -1 leaves the pages alone, so nothing is waited for and the loop's own thread may do it.
 */
export function refreshAttributes(f: Server, index: number): void {
  const { view, address } = f.notify.memory;
  const at = slots * slotSize;
  putInvalidation(f, view, at, index, -1n);
  f.v.libc.sys.write(f.session.fd, address + at, outHeader + 24);
}

/** fuse_out_header and struct fuse_notify_inval_inode_out. */
function putInvalidation(f: Server, view: DataView, at: number, index: number, offset: bigint) {
  view.setUint32(at, outHeader + 24, true);
  view.setInt32(at + 4, Notify.INVAL_INODE, true);
  view.setBigUint64(at + 8, 0n, true);
  view.setBigUint64(at + 16, BigInt(kernelId(f, index)), true);
  view.setBigInt64(at + 24, offset, true);
  view.setBigInt64(at + 32, 0n, true);
}

/** Asks that the kernel drop what it has cached of an inode. */
export function invalidate(f: Server, index: number): void {
  f.invalidations.add(index);
}

/** Starts as many waiting notifications as there are slots. */
export function drainInvalidations(f: Server): void {
  for (const index of f.invalidations) {
    const slot = f.notify.busy.indexOf(false);
    if (slot < 0) return;
    const session = f.sessions.find((s) => s.root === f.v.inodes.root[index] + 1);
    if (session && session.fd >= 0 && f.v.inodes.opens[index] > 0) {
      const at = slot * slotSize;
      const { view, address } = f.notify.memory;
      f.session = session;
      putInvalidation(f, view, at, index, 0n);
      const sent = f.v.offload.write(
        Tag.notify + slot,
        session.fd,
        address + at,
        outHeader + 24,
        -1,
      );
      if (!sent) return;
      f.notify.busy[slot] = true;
    }
    f.invalidations.delete(index);
  }
}

export function invalidationDone(f: Server, slot: number): void {
  f.notify.busy[slot] = false;
}

/** True while notifications wait or are under way. */
export function invalidating(f: Server): boolean {
  return f.invalidations.size > 0 || f.notify.busy.includes(true);
}
