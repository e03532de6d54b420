/**
 * The handshake of a link, both sides.
 *
 * 1. The preamble, eight bytes each way: `UNDY`, version, mode (1 = encrypted, 2 = plain), verdict,
 *    zero. These eight bytes keep their meaning in every version, so that versions can refuse each
 *    other by name.
 * 2. TLS 1.3 with both certificates, where encryption is on.
 * 3. Mutual proof of the secret: each side sends a nonce and an HMAC over both. Under TLS it repeats
 *    what the certificates have proven; without, it is the proof.
 * 4. Hello and reply: JSON with its length before it and an HMAC behind it, under a key made from both
 *    nonces.
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { type Hello, parseHello, parseReply, type Reply } from "./hello.ts";
import { magic, protocolVersion } from "./packet.ts";
import { HandshakeError, readExactly, type Wire } from "./wire.ts";

type Bytes = Uint8Array<ArrayBuffer>;
export type Side = "accept" | "dial";
export type Encryption = "on" | "off";

/** What a handshake needs to know and to have. */
export interface HandshakeContext {
  encryption: Encryption;
  /** HMAC key of the proof */
  key: Uint8Array;
  random(length: number): Bytes;
  /** puts TLS over the wire; not called where encryption is off */
  secure(wire: Wire, side: Side): Promise<Wire>;
}

export const preambleBytes = 8;
const nonceBytes = 32;
const tagBytes = 32;
/** Longest hello and reply. */
export const maxMessageBytes = 64 * 1024;

const verdict = { goOn: 0, version: 1, encryption: 2 } as const;
const modeOf = (encryption: Encryption) => encryption === "on" ? 1 : 2;

function preamble(encryption: Encryption, said: number): Bytes {
  return Uint8Array.of(...magic, protocolVersion, modeOf(encryption), said, 0);
}

/** Reads the other side's preamble, and gives up at the first byte that does not fit. */
async function readPreamble(wire: Wire): Promise<Bytes> {
  const bytes = new Uint8Array(preambleBytes);
  for (let filled = 0; filled < preambleBytes;) {
    const part = await wire.readSome(preambleBytes - filled);
    bytes.set(part, filled);
    filled += part.length;
    if (magic.some((byte, i) => i < filled && bytes[i] !== byte)) {
      throw new HandshakeError("garbage", "the other side does not speak Understudy's protocol");
    }
  }
  return bytes;
}

function versionError(theirs: number): HandshakeError {
  return new HandshakeError(
    "version",
    `the other side speaks protocol version ${theirs}, this node version ${protocolVersion}: run ` +
      `the same version of Understudy on all nodes`,
  );
}

function encryptionError(own: Encryption): HandshakeError {
  return new HandshakeError(
    "encryption",
    `encryption is "${own}" on this node and "${own === "on" ? "off" : "on"}" on the other: give ` +
      `all nodes the same configuration`,
  );
}

async function exchangePreambles(
  wire: Wire,
  side: Side,
  encryption: Encryption,
  heard: () => void,
): Promise<void> {
  if (side === "dial") await wire.write(preamble(encryption, verdict.goOn));
  const theirs = await readPreamble(wire);
  heard();
  const [version, mode] = theirs.subarray(4);
  const said = version !== protocolVersion
    ? verdict.version
    : mode !== modeOf(encryption)
    ? verdict.encryption
    : verdict.goOn;
  if (side === "accept") await wire.write(preamble(encryption, said));
  if (said === verdict.version) throw versionError(version);
  if (said === verdict.encryption) throw encryptionError(encryption);
  if (theirs[6] === verdict.goOn) return;
  throw theirs[6] === verdict.encryption ? encryptionError(encryption) : versionError(version);
}

function hmac(key: Uint8Array, label: string, ...parts: Uint8Array[]): Bytes {
  const state = createHmac("sha256", key).update(`understudy ${protocolVersion} ${label}\0`);
  for (const part of parts) state.update(part);
  return new Uint8Array(state.digest());
}

/** Proves the secret both ways; returns the key of the messages that follow. */
async function prove(wire: Wire, side: Side, context: HandshakeContext): Promise<Bytes> {
  const { key } = context;
  const mode = Uint8Array.of(modeOf(context.encryption));
  const wrong = () =>
    new HandshakeError("wrong-secret", "the other side does not hold this cluster's secret");
  if (side === "dial") {
    const own = context.random(nonceBytes);
    await wire.write(own);
    const theirs = await readExactly(wire, nonceBytes);
    const proof = await readExactly(wire, tagBytes);
    if (!timingSafeEqual(proof, hmac(key, "accept", mode, own, theirs))) {
      // Lets the other side say in its events what is wrong, instead of "closed".
      await wire.write(new Uint8Array(tagBytes)).catch(() => {});
      throw wrong();
    }
    await wire.write(hmac(key, "dial", mode, own, theirs));
    return hmac(key, "session", mode, own, theirs);
  }
  const theirs = await readExactly(wire, nonceBytes);
  const own = context.random(nonceBytes);
  await wire.write(Uint8Array.of(...own, ...hmac(key, "accept", mode, theirs, own)));
  const proof = await readExactly(wire, tagBytes);
  if (!timingSafeEqual(proof, hmac(key, "dial", mode, theirs, own))) throw wrong();
  return hmac(key, "session", mode, theirs, own);
}

/** A connection on which both sides have proven that they know the secret. */
export interface ProvenWire {
  wire: Wire;
  key: Bytes;
}

/**
 * Preamble, TLS and proof. The wire is released where it fails.
 *
 * @param heard called once the other side has sent a preamble: it is no scanner
 */
export async function establish(
  plain: Wire,
  side: Side,
  context: HandshakeContext,
  heard: () => void = () => {},
): Promise<ProvenWire> {
  let wire = plain;
  try {
    await exchangePreambles(wire, side, context.encryption, heard);
    if (context.encryption === "on") wire = await context.secure(wire, side);
    return { wire, key: await prove(wire, side, context) };
  } catch (error) {
    wire.release();
    throw error;
  }
}

async function writeMessage({ wire, key }: ProvenWire, from: Side, value: unknown): Promise<void> {
  const body = new TextEncoder().encode(JSON.stringify(value));
  if (body.length > maxMessageBytes) {
    throw new HandshakeError(
      "oversized",
      `this node's message takes ${body.length} bytes, and ${maxMessageBytes} are allowed`,
    );
  }
  const bytes = new Uint8Array(4 + body.length + tagBytes);
  new DataView(bytes.buffer).setUint32(0, body.length);
  bytes.set(body, 4);
  bytes.set(hmac(key, `message ${from}`, bytes.subarray(0, 4 + body.length)), 4 + body.length);
  await wire.write(bytes);
}

async function readMessage({ wire, key }: ProvenWire, from: Side): Promise<Bytes> {
  const head = await readExactly(wire, 4);
  const length = new DataView(head.buffer).getUint32(0);
  if (length > maxMessageBytes) {
    throw new HandshakeError(
      "oversized",
      `the other side announced a message of ${length} bytes, and ${maxMessageBytes} are allowed`,
    );
  }
  const body = await readExactly(wire, length);
  const tag = await readExactly(wire, tagBytes);
  if (!timingSafeEqual(tag, hmac(key, `message ${from}`, head, body))) {
    throw new HandshakeError("malformed", "a message was changed on its way");
  }
  return body;
}

/** The dialling side's hello and the reply to it. */
export async function sayHello(proven: ProvenWire, hello: Hello): Promise<Reply> {
  await writeMessage(proven, "dial", hello);
  const reply = parseReply(await readMessage(proven, "accept"));
  if (!reply) throw new HandshakeError("malformed", "the other side's reply makes no sense");
  return reply;
}

/** The accepting side's part: the hello. */
export async function hearHello(proven: ProvenWire): Promise<Hello> {
  const hello = parseHello(await readMessage(proven, "dial"));
  if (!hello) throw new HandshakeError("malformed", "the other side's hello makes no sense");
  return hello;
}

/** The accepting side's part: the reply. */
export function sendReply(proven: ProvenWire, reply: Reply): Promise<void> {
  return writeMessage(proven, "accept", reply);
}
