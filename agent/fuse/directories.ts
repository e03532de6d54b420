/** Requests about directories' contents. */
import { Errno, SEEK } from "../platform/linux/constants.ts";
import { lookupName } from "../mirror/backing.ts";
import { Dirent, isDots, isStageName } from "../mirror/directory.ts";
import { openInode } from "../mirror/inodes.ts";
import { entrySize, outHeader } from "./protocol.ts";
import { nodeOf, putEntry, reply, replyResult, type Server } from "./server.ts";
import { putOpen } from "./data.ts";

export function opendir(f: Server): void {
  const index = nodeOf(f);
  const fd = openInode(f.v.inodes, f.v.libc, index, false);
  if (fd < 0) return replyResult(f, fd);
  f.v.inodes.opens[index]++;
  putOpen(f, outHeader, 0);
  reply(f, 16);
}

/** Offset within struct fuse_dirent: u64 ino, u64 off, u32 namelen, u32 type, name. */
const direntHeader = 24;

export function readdir(f: Server): void {
  fill(f, 0);
}

export function readdirplus(f: Server): void {
  fill(f, entrySize);
}

/**
 * Replies with as many entries from the request's offset on as fit. The offsets are the backing file
 * system's own, so a reader may stop, come back and seek as it likes.
 */
function fill(f: Server, plus: number): void {
  const { v } = f;
  const t = v.inodes;
  const index = nodeOf(f);
  const fd = openInode(t, v.libc, index, false);
  if (fd < 0) return replyResult(f, fd);
  const list = f.list;
  const size = Math.min(f.words[14], f.out.bytes.length - outHeader);
  const from = BigInt(f.words[12]) | (BigInt(f.words[13]) << 32n);
  const position = BigInt.asIntN(64, from);
  if (Number(v.libc.sys.lseek(fd, position, SEEK.SET)) < 0) {
    return replyResult(f, -v.libc.errno());
  }
  let used = 0;
  // An entry here is never smaller than what it becomes there, names being padded alike.
  const room = Math.min(list.bytes.length, Math.max(512, plus ? size / 4 : size));
  const n = v.libc.sys.getdents64(fd, list.address, room);
  if (n < 0) return replyResult(f, -v.libc.errno());
  const out = f.out.bytes;
  for (let at = 0; at < n;) {
    const nameAt = at + Dirent.name;
    const length = list.bytes.indexOf(0, nameAt) - nameAt;
    const needed = plus + ((direntHeader + length + 7) & ~7);
    if (used + needed > size) break;
    if (!v.serving && isStageName(list.bytes, nameAt, length)) {
      at += list.view.getUint16(at + Dirent.reclen, true);
      continue;
    }
    let to = outHeader + used;
    if (plus > 0) {
      f.outWords.fill(0, to >>> 2, (to + entrySize) >>> 2);
      if (!isDots(list.bytes, nameAt, length)) {
        const name = list.address + nameAt;
        const child = lookupName(v, t, index, list.bytes, nameAt, length, name);
        if (child > 0) putEntry(f, to, child);
        else if (child !== -Errno.ENOENT && used === 0) return replyResult(f, child);
      }
      to += entrySize;
    }
    const o = to >>> 2;
    f.outWords[o] = list.view.getUint32(at, true);
    f.outWords[o + 1] = list.view.getUint32(at + 4, true);
    f.outWords[o + 2] = list.view.getUint32(at + 8, true);
    f.outWords[o + 3] = list.view.getUint32(at + 12, true);
    f.outWords[o + 4] = length;
    f.outWords[o + 5] = list.bytes[at + Dirent.type];
    for (let i = 0; i < length; i++) out[to + direntHeader + i] = list.bytes[nameAt + i];
    for (let i = to + direntHeader + length; i < to + needed - plus; i++) out[i] = 0;
    used += needed;
    at += list.view.getUint16(at + Dirent.reclen, true);
  }
  reply(f, used);
}
