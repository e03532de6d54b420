/** The files only the agent may read: the cluster secret and the HTTP token. */
import { Buffer } from "node:buffer";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { timingSafeEqual } from "node:crypto";

/** Bytes of a cluster secret: as many as the keys derived from it. */
export const SECRET_BYTES = 32;

/** Fewest characters of a token: 22 of base64 hold 128 bits. */
const MIN_TOKEN = 22;

/** Neither a secret nor a token is longer, in bytes. */
const MAX_FILE = 4096;

/** A secret or token file that must not be used. The message says what to do. */
export class SecretFileError extends Error {
  override name = "SecretFileError";
  constructor(readonly file: string, readonly mistake: string, readonly missing = false) {
    super(`${file}: ${mistake}`);
  }
}

/**
 * Reads the cluster secret: at least 32 bytes in base64 (either alphabet) on one line.
 *
 * @returns the decoded bytes
 * @throws {SecretFileError} where the file is missing, no regular file, readable by anybody else
 *   than its owner, owned by another user, too short, or no base64
 */
export function readSecret(file: string): Uint8Array {
  const text = readPrivate(file, "the cluster secret");
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text) || text.length % 4 === 1) {
    throw new SecretFileError(
      file,
      "The cluster secret is not base64. Copy the file from the other node, or make a new one " +
        "for both: openssl rand -base64 32",
    );
  }
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  if (bytes.length < SECRET_BYTES) {
    throw new SecretFileError(
      file,
      `The cluster secret has ${bytes.length} bytes, and must have at least ${SECRET_BYTES}. Make ` +
        "a new one for both nodes: openssl rand -base64 32",
    );
  }
  return bytes;
}

/**
 * Reads the token of the HTTP interface: at least 22 characters of those a bearer token may have
 * (RFC 6750, b64token).
 *
 * @throws {SecretFileError} as {@link readSecret} does
 */
export function readToken(file: string): string {
  const text = readPrivate(file, "the HTTP token");
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(text)) {
    throw new SecretFileError(
      file,
      "The HTTP token has characters that a bearer token cannot have. Make a new one: openssl " +
        "rand -base64 32",
    );
  }
  if (text.length < MIN_TOKEN) {
    throw new SecretFileError(
      file,
      `The HTTP token has ${text.length} characters, and must have at least ${MIN_TOKEN}. Make a ` +
        "new one: openssl rand -base64 32",
    );
  }
  return text;
}

/** Compares a token that somebody presents in a time that does not tell how much of it is right. */
export function sameToken(presented: string, token: string): boolean {
  const a = Buffer.from(presented);
  const b = Buffer.from(token);
  return a.length === b.length && timingSafeEqual(a, b);
}

/** The text of a file that nobody else may read, without the blanks around it. */
function readPrivate(file: string, what: string): string {
  const What = what[0].toUpperCase() + what.slice(1);
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === "ENOENT") {
      throw new SecretFileError(
        file,
        `${What} is missing. \`understudy init\` makes one; the other node's is copied`,
        true,
      );
    }
    throw new SecretFileError(file, `${What} cannot be read (${(error as Error).message})`);
  }
  try {
    // of the open file, so that it cannot be another one than the one that was looked at
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new SecretFileError(file, `${What} is not a regular file`);
    refuseStrangers(file, What, stat);
    const bytes = new Uint8Array(MAX_FILE + 1);
    let length = 0;
    while (length < bytes.length) {
      const n = readSync(fd, bytes, length, bytes.length - length, null);
      if (n === 0) break;
      length += n;
    }
    if (length > MAX_FILE) {
      throw new SecretFileError(file, `${What} is larger than ${MAX_FILE} bytes: a wrong file?`);
    }
    const text = new TextDecoder().decode(bytes.subarray(0, length)).trim();
    if (text === "") throw new SecretFileError(file, `${What} is empty`);
    return text;
  } finally {
    closeSync(fd);
  }
}

function refuseStrangers(file: string, What: string, stat: { mode: number; uid: number }): void {
  if (Deno.build.os === "windows") return; // no such modes: the file's ACL is the administrator's
  const mode = stat.mode & 0o777;
  if ((mode & 0o077) !== 0) {
    throw new SecretFileError(
      file,
      `${What} has mode ${
        mode.toString(8).padStart(4, "0")
      }: others than its owner can use it. Run: chmod 600 ${file}`,
    );
  }
  const self = Deno.uid();
  if (stat.uid !== 0 && stat.uid !== self) {
    throw new SecretFileError(
      file,
      `${What} belongs to user ${stat.uid}, who could change it. Run: chown ${self} ${file}`,
    );
  }
}
