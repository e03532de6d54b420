/**
 * The X.509 certificate that every node of a cluster makes from the same key: self-signed, without a
 * clock and without randomness, so that all nodes hold the same bytes and trust exactly those.
 *
 * DER encoding as in ITU-T X.690, the certificate as in RFC 5280, Ed25519 in it as in RFC 8410.
 */

import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { Buffer } from "node:buffer";

type Bytes = Uint8Array<ArrayBuffer>;

/** The name in the certificate, for TLS libraries that insist on comparing one. */
export const certificateName = "understudy.cluster";

/** A key pair with its certificate. */
export interface Identity {
  /** certificate, DER */
  certificate: Bytes;
  /** private key, PKCS #8 DER */
  privateKey: Bytes;
  certificatePem: string;
  privateKeyPem: string;
}

// Tags of X.690.
const tag = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  /** context tags of TBSCertificate: version and extensions */
  version: 0xa0,
  extensions: 0xa3,
  /** context tags of GeneralName: dNSName, iPAddress */
  dnsName: 0x82,
  ipAddress: 0x87,
} as const;

function concatenate(parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** One DER element: tag, length in the shortest form, content. */
export function der(type: number, ...content: readonly Uint8Array[]): Bytes {
  const body = concatenate(content);
  const length: number[] = [];
  if (body.length < 0x80) {
    length.push(body.length);
  } else {
    for (let rest = body.length; rest > 0; rest >>>= 8) length.unshift(rest & 0xff);
    length.unshift(0x80 | length.length);
  }
  return concatenate([Uint8Array.of(type, ...length), body]);
}

/** An object identifier from its dotted form. */
export function oid(dotted: string): Bytes {
  const [first, second, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const septets = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) septets.unshift(0x80 | (left & 0x7f));
    bytes.push(...septets);
  }
  return der(tag.oid, Uint8Array.from(bytes));
}

const text = (value: string): Bytes => new TextEncoder().encode(value);
const sequence = (...content: readonly Uint8Array[]): Bytes => der(tag.sequence, ...content);

/** An unsigned big-endian number; a leading zero keeps it positive. */
function positive(bytes: Uint8Array): Bytes {
  return der(tag.integer, ...(bytes[0] >= 0x80 ? [Uint8Array.of(0), bytes] : [bytes]));
}

function bitString(bytes: Uint8Array, unused = 0): Bytes {
  return der(tag.bitString, Uint8Array.of(unused), bytes);
}

const ed25519 = sequence(oid("1.3.101.112"));

function extension(id: string, value: Uint8Array): Bytes {
  return sequence(oid(id), der(tag.octetString, value));
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = bytes.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/**
 * The identity that belongs to an Ed25519 seed.
 *
 * @param seed the 32 bytes of the private key
 * @param serial 16 bytes for the serial number
 */
export function createIdentity(seed: Uint8Array, serial: Uint8Array): Identity {
  const privateKey = sequence(
    der(tag.integer, Uint8Array.of(0)),
    ed25519,
    der(tag.octetString, der(tag.octetString, seed)),
  );
  const key = createPrivateKey({ key: Buffer.from(privateKey), format: "der", type: "pkcs8" });
  const spki = new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }));

  const name = sequence(
    der(tag.set, sequence(oid("2.5.4.3"), der(tag.utf8String, text(certificateName)))),
  );
  const body = sequence(
    der(tag.version, der(tag.integer, Uint8Array.of(2))),
    // The top bit is cleared and the next one set: positive, and never shorter than 16 bytes.
    positive(Uint8Array.of((serial[0] & 0x7f) | 0x40, ...serial.subarray(1, 16))),
    ed25519,
    name,
    // Valid whatever a node's clock says: a server may start up in 1970. RFC 5280, 4.1.2.5, gives
    // the last instant as "no well-defined expiration date".
    sequence(
      der(tag.utcTime, text("700101000000Z")),
      der(tag.generalizedTime, text("99991231235959Z")),
    ),
    name,
    spki,
    der(
      tag.extensions,
      sequence(
        // keyUsage: digitalSignature (bit 0)
        extension("2.5.29.15", bitString(Uint8Array.of(0x80), 7)),
        // extendedKeyUsage: serverAuth, clientAuth
        extension("2.5.29.37", sequence(oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2"))),
        // subjectAltName; the address is for the relay, whose TLS runs over loopback
        extension(
          "2.5.29.17",
          sequence(
            der(tag.dnsName, text(certificateName)),
            der(tag.ipAddress, Uint8Array.of(127, 0, 0, 1)),
          ),
        ),
      ),
    ),
  );
  const signature = new Uint8Array(sign(null, body, key));
  const certificate = sequence(body, ed25519, bitString(signature));
  return {
    certificate,
    privateKey,
    certificatePem: pem("CERTIFICATE", certificate),
    privateKeyPem: pem("PRIVATE KEY", privateKey),
  };
}
