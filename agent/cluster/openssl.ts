/**
 * The system's OpenSSL 3 by FFI: mutual TLS 1.3 between two holders of the same key, and nothing else.
 *
 * A connection (`SSL*`) is made and shaken hands with on the main thread and then used on a data
 * path's thread, by its address: OpenSSL lets a connection move between threads as long as only one
 * uses it at a time. Constants are from openssl/ssl.h and openssl/bio.h of version 3.0.
 */

import { takeNumbers } from "../platform/linux/numbers.ts";
import { allocate, cstring, type Memory } from "../platform/linux/libc.ts";
import type { Identity } from "./certificate.ts";
import { ClusterError } from "./events.ts";

const sslSymbols = {
  TLS_method: { parameters: [], result: "usize" },
  SSL_CTX_new: { parameters: ["usize"], result: "usize" },
  SSL_CTX_free: { parameters: ["usize"], result: "void" },
  SSL_CTX_ctrl: { parameters: ["usize", "i32", "i64", "usize"], result: "i64" },
  SSL_CTX_set_options: { parameters: ["usize", "u64"], result: "u64" },
  SSL_CTX_set_ciphersuites: { parameters: ["usize", "usize"], result: "i32" },
  SSL_CTX_set_num_tickets: { parameters: ["usize", "usize"], result: "i32" },
  SSL_CTX_use_certificate: { parameters: ["usize", "usize"], result: "i32" },
  SSL_CTX_use_PrivateKey: { parameters: ["usize", "usize"], result: "i32" },
  SSL_CTX_check_private_key: { parameters: ["usize"], result: "i32" },
  SSL_CTX_get_cert_store: { parameters: ["usize"], result: "usize" },
  SSL_CTX_set_verify: { parameters: ["usize", "i32", "usize"], result: "void" },
  SSL_CTX_set_default_read_buffer_len: { parameters: ["usize", "usize"], result: "void" },
  SSL_new: { parameters: ["usize"], result: "usize" },
  SSL_free: { parameters: ["usize"], result: "void" },
  SSL_set_fd: { parameters: ["usize", "i32"], result: "i32" },
  SSL_set_accept_state: { parameters: ["usize"], result: "void" },
  SSL_set_connect_state: { parameters: ["usize"], result: "void" },
  SSL_set0_wbio: { parameters: ["usize", "usize"], result: "void" },
  SSL_do_handshake: { parameters: ["usize"], result: "i32" },
  SSL_get_error: { parameters: ["usize", "i32"], result: "i32" },
  SSL_get_verify_result: { parameters: ["usize"], result: "i64" },
  SSL_get1_peer_certificate: { parameters: ["usize"], result: "usize" },
  SSL_read: { parameters: ["usize", "usize", "i32"], result: "i32" },
  SSL_write: { parameters: ["usize", "usize", "i32"], result: "i32" },
  SSL_has_pending: { parameters: ["usize"], result: "i32" },
  SSL_key_update: { parameters: ["usize", "i32"], result: "i32" },
  SSL_shutdown: { parameters: ["usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const cryptoSymbols = {
  d2i_X509: { parameters: ["usize", "usize", "i64"], result: "usize" },
  X509_free: { parameters: ["usize"], result: "void" },
  X509_cmp: { parameters: ["usize", "usize"], result: "i32" },
  X509_STORE_add_cert: { parameters: ["usize", "usize"], result: "i32" },
  d2i_AutoPrivateKey: { parameters: ["usize", "usize", "i64"], result: "usize" },
  EVP_PKEY_free: { parameters: ["usize"], result: "void" },
  BIO_new_bio_pair: { parameters: ["usize", "usize", "usize", "usize"], result: "i32" },
  BIO_nread0: { parameters: ["usize", "usize"], result: "i32" },
  BIO_nread: { parameters: ["usize", "usize", "i32"], result: "i32" },
  BIO_free: { parameters: ["usize"], result: "i32" },
  ERR_get_error: { parameters: [], result: "u64" },
  ERR_clear_error: { parameters: [], result: "void" },
  ERR_error_string_n: { parameters: ["u64", "usize", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `SSL_get_error`: what a connection needs, or that it is over. */
export const SslError = {
  none: 0,
  ssl: 1,
  wantRead: 2,
  wantWrite: 3,
  syscall: 5,
  closed: 6,
} as const;

const SSL_CTRL_MODE = 33;
const SSL_CTRL_SET_READ_AHEAD = 41;
const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
const SSL_CTRL_SET_GROUPS_LIST = 92;
const SSL_CTRL_SET_SIGALGS_LIST = 98;
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
const SSL_CTRL_SET_MAX_PROTO_VERSION = 124;
const TLS1_3_VERSION = 0x0304;
const SSL_MODE_ENABLE_PARTIAL_WRITE = 1;
const SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 2;
const SSL_OP_NO_TICKET = 1n << 14n;
const SSL_OP_NO_COMPRESSION = 1n << 17n;
const SSL_OP_CIPHER_SERVER_PREFERENCE = 1n << 22n;
const SSL_OP_NO_RENEGOTIATION = 1n << 30n;
const SSL_VERIFY_PEER = 1;
const SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 2;
const X509_V_OK = 0n;

/**
 * Reasons (openssl/sslerr.h) that mean "the two certificates are not the same", as this side or as
 * the other one noticed it: SSL_R_CERTIFICATE_VERIFY_FAILED, PEER_DID_NOT_RETURN_A_CERTIFICATE and the
 * alerts bad_certificate, certificate_unknown, unknown_ca, access_denied, decrypt_error,
 * certificate_required.
 */
const otherKeyReasons: ReadonlySet<number> = new Set([
  134,
  199,
  1042,
  1046,
  1048,
  1049,
  1051,
  1116,
]);

const SSL_R_UNEXPECTED_EOF_WHILE_READING = 294;

/** One read fills at most this: sixteen full records with one system call. */
const readBufferBytes = 256 * 1024;

type Widened<P extends unknown[]> = {
  [K in keyof P]: P[K] extends bigint ? number | bigint : P[K];
};

/** A table's functions as they are called here: 64-bit arguments as plain numbers, as in libc.ts. */
type Calls<S extends Deno.ForeignLibraryInterface> = {
  readonly [K in keyof Deno.DynamicLibrary<S>["symbols"]]:
    Deno.DynamicLibrary<S>["symbols"][K] extends (...args: infer P) => infer R
      ? (...args: Widened<P>) => R
      : never;
};

/** OpenSSL's functions, bound to the calling thread, with scratch memory for their results. */
export interface OpenSsl {
  readonly ssl: Calls<typeof sslSymbols>;
  readonly crypto: Calls<typeof cryptoSymbols>;
  readonly scratch: Memory;
  /** Frees the tables; connections and contexts are not touched. */
  close(): void;
}

/** What a failed call left in the thread's error queue. */
export interface TlsFailure {
  /**
   * - `other-key`: the certificates differ: the other side holds another secret, or none
   * - `closed`: the connection ended
   * - `protocol`: the other side does not keep to TLS
   */
  kind: "other-key" | "closed" | "protocol";
  text: string;
}

/** A context that makes connections, on the main thread. */
export interface TlsContext {
  readonly openssl: OpenSsl;
  readonly context: number;
  /** `X509*` of our own certificate, the only one that is trusted */
  readonly certificate: number;
}

/**
 * Loads OpenSSL 3 for the calling thread. Throws {@link ClusterError} where it is missing: then
 * relay.ts does the work.
 *
 * @param libraries file names of libssl and libcrypto; replaced in tests
 */
export function openOpenSsl(
  [libssl, libcrypto]: [string, string] = ["libssl.so.3", "libcrypto.so.3"],
): OpenSsl {
  try {
    const ssl = Deno.dlopen(libssl, sslSymbols);
    const crypto = Deno.dlopen(libcrypto, cryptoSymbols);
    return {
      ssl: takeNumbers(ssl.symbols, sslSymbols) as Calls<typeof sslSymbols>,
      crypto: takeNumbers(crypto.symbols, cryptoSymbols) as Calls<typeof cryptoSymbols>,
      scratch: allocate(1024),
      close() {
        ssl.close();
        crypto.close();
      },
    };
  } catch (error) {
    throw new ClusterError(
      `OpenSSL 3 (${libssl} and ${libcrypto}) cannot be loaded: ${
        error instanceof Error ? error.message : error
      }. Install it (Debian: libssl3, Red Hat: openssl-libs)`,
    );
  }
}

/** Empties the thread's error queue into one sentence. */
export function takeFailure({ crypto, scratch }: OpenSsl): TlsFailure {
  let kind: TlsFailure["kind"] = "closed";
  let text = "";
  // The queue holds 16 entries (ERR_NUM_ERRORS); the first one is the cause.
  for (let entries = 0; entries < 16; entries++) {
    const code = crypto.ERR_get_error();
    if (code === 0n) break;
    // ERR_GET_REASON: the reasons of the SSL library fit into the low 12 bits.
    const reason = Number(code & 0xfffn);
    if (otherKeyReasons.has(reason)) kind = "other-key";
    else if (kind === "closed" && reason !== SSL_R_UNEXPECTED_EOF_WHILE_READING) kind = "protocol";
    if (text !== "") continue;
    crypto.ERR_error_string_n(code, scratch.address, 256n);
    const end = scratch.bytes.indexOf(0);
    // "error:0A000086:SSL routines::certificate verify failed": the last part is for people.
    text = new TextDecoder().decode(scratch.bytes.subarray(0, Math.min(end, 256))).split(":").at(
      -1,
    )!;
  }
  return { kind, text: text === "" ? "the connection was closed" : text };
}

function fail(openssl: OpenSsl, action: string): never {
  throw new ClusterError(
    `OpenSSL cannot ${action}: ${
      takeFailure(openssl).text
    }. This system's cryptographic policy may ` +
      `forbid Ed25519 or X25519, as FIPS mode does`,
  );
}

/** Reads a DER structure with one of the `d2i` functions. */
function parse(
  openssl: OpenSsl,
  read: (out: number, from: number, length: bigint) => bigint | number,
  der: Uint8Array,
  what: string,
): number {
  const { scratch } = openssl;
  const memory = allocate(der.length);
  memory.bytes.set(der);
  scratch.view.setBigUint64(0, BigInt(memory.address), true);
  const pointer = Number(read(0, scratch.address, BigInt(der.length)));
  // OpenSSL has copied it: what holds a key is not left behind.
  memory.bytes.fill(0);
  return pointer === 0 ? fail(openssl, `read the ${what}`) : pointer;
}

/** Makes a context for mutual TLS 1.3 between holders of this identity, and nobody else. */
function createTlsContext(openssl: OpenSsl, identity: Identity): TlsContext {
  const { ssl, crypto, scratch } = openssl;
  const context = Number(ssl.SSL_CTX_new(Number(ssl.TLS_method())));
  if (context === 0) fail(openssl, "start");
  const list = (text: string) => cstring(scratch, text);
  const control = (command: number, number: number, pointer: number, action: string) => {
    if (ssl.SSL_CTX_ctrl(context, command, BigInt(number), pointer) === 0n) fail(openssl, action);
  };
  control(SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, 0, "require TLS 1.3");
  control(SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION, 0, "require TLS 1.3");
  // Named here so that a system-wide policy file does not decide what two nodes agree on.
  control(SSL_CTRL_SET_SIGALGS_LIST, 0, list("ed25519"), "use Ed25519");
  control(SSL_CTRL_SET_GROUPS_LIST, 0, list("X25519:P-256"), "agree on keys");
  const suites = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
  if (ssl.SSL_CTX_set_ciphersuites(context, list(suites)) !== 1) fail(openssl, "set the ciphers");
  // Connections live for days: nothing is gained by resuming one, so no session is ever kept.
  ssl.SSL_CTX_set_options(
    context,
    SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
      SSL_OP_CIPHER_SERVER_PREFERENCE,
  );
  ssl.SSL_CTX_set_num_tickets(context, 0);
  ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, 0n, 0);
  const modes = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
  ssl.SSL_CTX_ctrl(context, SSL_CTRL_MODE, BigInt(modes), 0);
  ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_READ_AHEAD, 1n, 0);
  ssl.SSL_CTX_set_default_read_buffer_len(context, readBufferBytes);

  const certificate = parse(openssl, crypto.d2i_X509, identity.certificate, "certificate");
  const key = parse(openssl, crypto.d2i_AutoPrivateKey, identity.privateKey, "private key");
  if (
    ssl.SSL_CTX_use_certificate(context, certificate) !== 1 ||
    ssl.SSL_CTX_use_PrivateKey(context, key) !== 1 ||
    ssl.SSL_CTX_check_private_key(context) !== 1
  ) fail(openssl, "use the cluster's key");
  crypto.EVP_PKEY_free(key);
  if (crypto.X509_STORE_add_cert(Number(ssl.SSL_CTX_get_cert_store(context)), certificate) !== 1) {
    fail(openssl, "trust the cluster's certificate");
  }
  ssl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, 0);
  return { openssl, context, certificate };
}

/** Loads OpenSSL and makes a context; nothing is left open where that fails. */
export function openTlsContext(identity: Identity): TlsContext {
  const openssl = openOpenSsl();
  try {
    return createTlsContext(openssl, identity);
  } catch (error) {
    openssl.close();
    throw error;
  }
}

/** Frees a context, and the tables it came from. Connections made from it live on: each holds a reference. */
export function freeTlsContext({ openssl, context, certificate }: TlsContext): void {
  openssl.ssl.SSL_CTX_free(context);
  openssl.crypto.X509_free(certificate);
  openssl.close();
}

/**
 * A connection over a connected, non-blocking socket; nothing is sent yet. Free it with
 * `SSL_free`, which leaves the socket open.
 */
export function createTls(tls: TlsContext, fd: number, side: "accept" | "dial"): number {
  const { ssl } = tls.openssl;
  const connection = Number(ssl.SSL_new(tls.context));
  if (connection === 0 || ssl.SSL_set_fd(connection, fd) !== 1) {
    fail(tls.openssl, "make a connection");
  }
  if (side === "accept") ssl.SSL_set_accept_state(connection);
  else ssl.SSL_set_connect_state(connection);
  return connection;
}

/** Goes on with the handshake: finished, waiting for the socket, or failed. */
export function shakeHands(
  tls: TlsContext,
  connection: number,
): "done" | "read" | "write" | TlsFailure {
  const { ssl, crypto } = tls.openssl;
  const result = ssl.SSL_do_handshake(connection);
  if (result !== 1) {
    const error = ssl.SSL_get_error(connection, result);
    if (error === SslError.wantRead) return "read";
    if (error === SslError.wantWrite) return "write";
    return takeFailure(tls.openssl);
  }
  const peer = Number(ssl.SSL_get1_peer_certificate(connection));
  const same = peer !== 0 && crypto.X509_cmp(peer, tls.certificate) === 0;
  if (peer !== 0) crypto.X509_free(peer);
  if (same && ssl.SSL_get_verify_result(connection) === X509_V_OK) return "done";
  return { kind: "other-key", text: "the certificate is not the cluster's" };
}
