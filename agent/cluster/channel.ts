/**
 * One authenticated link as the data path uses it: bytes out of and into fixed memory, never
 * blocking, without an allocation per call.
 */

import { Errno, POLLOUT } from "../platform/linux/constants.ts";
import { errnoName } from "../platform/linux/errno.ts";
import type { Libc } from "../platform/linux/libc.ts";
import type { LinkHandle } from "../mirror/messages.ts";
import { openOpenSsl, SslError, takeFailure } from "./openssl.ts";
import { ClusterError } from "./events.ts";

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

/** Only tests choose these. */
export interface ChannelTuning {
  /** records sent under one key before it is changed */
  recordsPerKey?: number;
}

// linux/socket.h
const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;

/** Largest plaintext of a TLS record (RFC 8446, 5.1). */
const maxRecord = 16384;
/** More than a record adds (5 header, 1 type, 16 tag), with room for a key update before it. */
const recordOverhead = 128;
/**
 * Ciphertext collected for one `send`. Of 40 KiB to 1.2 MiB this was the fastest in streaming over
 * loopback: fewer system calls, and the peer still decrypts while this side encrypts.
 */
const ringBytes = 256 * 1024;
/**
 * RFC 8446, 5.5, allows 2^24.5 full records under one AES-GCM key; OpenSSL does not watch it. This is
 * 64 GiB of full records.
 */
const defaultRecordsPerKey = 1 << 22;
const SSL_KEY_UPDATE_NOT_REQUESTED = 0;

/** Opens a handed-over link on the calling thread: plain or TLS, as the link says. */
export function openChannel(libc: Libc, link: LinkHandle, tuning: ChannelTuning = {}): Channel {
  return link.ssl === "0"
    ? openPlain(libc, link.fd)
    : openTls(libc, link.fd, Number(link.ssl), tuning.recordsPerKey ?? defaultRecordsPerKey);
}

function closedText(errno: number): string {
  if (errno === Errno.ECONNRESET || errno === Errno.EPIPE) return "The peer reset the connection";
  if (errno === Errno.ETIMEDOUT) return "The peer's host has stopped answering on this network";
  return `The connection failed: ${errnoName(errno)}`;
}

function openPlain(libc: Libc, fd: number): Channel {
  const { sys } = libc;
  let why = "";
  let open = true;

  /** 0 for "would block", -1 after noting why. */
  function failed(): number {
    const errno = libc.errno();
    if (errno === Errno.EAGAIN || errno === Errno.EINTR) return 0;
    why = closedText(errno);
    return -1;
  }

  return {
    fd,
    send(address, length, more) {
      const flags = more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
      const taken = sys.send(fd, address, length, flags);
      return taken >= 0 ? taken : failed();
    },
    receive(address, length) {
      const taken = sys.recv(fd, address, length, 0);
      if (taken > 0) return taken;
      if (taken < 0) return failed();
      why = "The peer closed the connection";
      return -1;
    },
    pending: () => false,
    wants: () => 0,
    flush: () => true,
    reason: () => why,
    close() {
      if (open) sys.close(fd);
      open = false;
    },
  };
}

/**
 * TLS with its own way out: OpenSSL writes its records into a ring (a BIO pair), and as much of that
 * as there is leaves in one `send`. Inwards OpenSSL reads the socket itself, up to 256 KiB at once.
 */
function openTls(libc: Libc, fd: number, connection: number, recordsPerKey: number): Channel {
  const { sys } = libc;
  const openssl = openOpenSsl();
  const { ssl, crypto, scratch } = openssl;
  const { view } = scratch;
  // scratch: [0, 8) and [8, 16) the pair's halves, [16, 24) position in the ring
  if (crypto.BIO_new_bio_pair(scratch.address, ringBytes, scratch.address + 8, 0) !== 1) {
    throw new ClusterError(`OpenSSL has no memory for a link: ${takeFailure(openssl).text}`);
  }
  ssl.SSL_set0_wbio(connection, Number(view.getBigUint64(0, true)));
  const ring = Number(view.getBigUint64(8, true));
  const position = scratch.address + 16;

  let why = "";
  let open = true;
  /** the connection must not be spoken over any more */
  let broken = false;
  /** at most this many bytes stand in the ring */
  let queued = 0;
  /** bytes may wait inside OpenSSL; unknown after the handshake, so assumed */
  let unread = true;
  let records = 0;

  /** Sends the ring's content; false where the socket is full or broken. */
  function drain(): boolean {
    while (queued > 0) {
      const ready = crypto.BIO_nread0(ring, position);
      if (ready <= 0) {
        queued = 0;
        break;
      }
      // A user-space address has at most 47 bits: the high word times 2^32 is exact.
      const from = view.getUint32(16, true) + view.getUint32(20, true) * 4294967296;
      const taken = sys.send(fd, from, ready, MSG_NOSIGNAL);
      if (taken < 0) {
        const errno = libc.errno();
        if (errno !== Errno.EAGAIN && errno !== Errno.EINTR) {
          why = closedText(errno);
          broken = true;
        }
        return false;
      }
      crypto.BIO_nread(ring, position, taken);
      queued -= taken;
    }
    return !broken;
  }

  function failed(result: number): number {
    const errno = libc.errno();
    const error = ssl.SSL_get_error(connection, result);
    if (error === SslError.wantRead) return 0;
    if (error === SslError.wantWrite) {
      // Answers to the peer's key updates fill the ring: they are not counted otherwise.
      queued += recordOverhead;
      return 0;
    }
    const failure = takeFailure(openssl);
    // The first reason stands: after a failed send the socket reads as if it had just ended.
    if (broken) return -1;
    broken = true;
    if (error === SslError.closed) why = "The peer closed the connection";
    else if (error === SslError.syscall && errno !== 0) why = closedText(errno);
    else why = `The encrypted connection failed: ${failure.text}`;
    return -1;
  }

  return {
    fd,
    send(address, length, more) {
      if (broken) return -1;
      let taken = 0;
      while (taken < length) {
        const chunk = Math.min(maxRecord, length - taken);
        // With room for the whole record OpenSSL never has to be offered the same bytes again.
        if (queued + chunk + recordOverhead > ringBytes && !drain()) {
          if (broken) return taken > 0 ? taken : -1;
          if (queued + chunk + recordOverhead > ringBytes) return taken;
        }
        if (++records >= recordsPerKey) {
          records = 0;
          ssl.SSL_key_update(connection, SSL_KEY_UPDATE_NOT_REQUESTED);
        }
        const written = ssl.SSL_write(connection, address + taken, chunk);
        if (written <= 0) return taken > 0 ? taken : failed(written);
        taken += written;
        queued += written + recordOverhead;
      }
      if (!more) drain();
      return taken;
    },
    receive(address, length) {
      let taken = 0;
      while (taken < length) {
        const read = ssl.SSL_read(connection, address + taken, length - taken);
        if (read <= 0) {
          unread = false;
          const result = failed(read);
          return taken > 0 ? taken : result;
        }
        taken += read;
        // Spares the system call that would say "no more".
        if (ssl.SSL_has_pending(connection) === 0) {
          unread = false;
          return taken;
        }
      }
      unread = true;
      return taken;
    },
    pending: () => unread,
    wants: () => queued > 0 ? POLLOUT : 0,
    flush: drain,
    reason: () => why,
    close() {
      if (!open) return;
      open = false;
      if (!broken) {
        // The peer learns that nothing was cut off. It must not wait for the answer.
        ssl.SSL_shutdown(connection);
        queued += recordOverhead;
        drain();
      }
      ssl.SSL_free(connection);
      crypto.BIO_free(ring);
      crypto.ERR_clear_error();
      openssl.close();
      sys.close(fd);
    },
  };
}
