/** The cluster secret, and the keys that come from it. */

import { hkdfSync } from "node:crypto";
import { createIdentity, type Identity } from "./certificate.ts";
import { ClusterError } from "./events.ts";

/** Bytes of a generated secret. */
const secretBytes = 32;

/** Fewest characters of a secret file: 128 bits where they are hexadecimal digits. */
const minSecretLength = 32;

/** Every key that a node needs, from the secret alone: the same on every node. */
export interface ClusterKeys {
  /** HMAC-SHA256 key of the heartbeats */
  heartbeat: Uint8Array<ArrayBuffer>;
  /** HMAC-SHA256 key of the link's handshake where encryption is off */
  link: Uint8Array<ArrayBuffer>;
  /** key and certificate of mutual TLS */
  identity: Identity;
}

/** The text of a new secret file. */
export function createSecret(): string {
  return crypto.getRandomValues(new Uint8Array(secretBytes)).toHex() + "\n";
}

/**
 * The secret in the text of a secret file: white space around it does not count.
 * Throws {@link ClusterError} where it is too short to be a secret.
 */
export function parseSecret(text: string, file: string): Uint8Array<ArrayBuffer> {
  const secret = text.trim();
  if (secret.length < minSecretLength) {
    throw new ClusterError(
      `The cluster secret in ${file} has ${secret.length} characters where at least ` +
        `${minSecretLength} are needed: make one with \`understudy init\` and copy it to every node`,
    );
  }
  return new TextEncoder().encode(secret);
}

/**
 * HKDF-SHA256 (RFC 5869) with a label for each purpose. The version in the label changes when the
 * meaning of a key does: two versions then share no key.
 */
function derive(secret: Uint8Array, label: string, length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hkdfSync("sha256", secret, "", `understudy/1 ${label}`, length));
}

/** Derives the keys of a cluster from its secret. Takes about a millisecond. */
export function deriveKeys(secret: Uint8Array): ClusterKeys {
  return {
    heartbeat: derive(secret, "heartbeat", 32),
    link: derive(secret, "link handshake", 32),
    identity: createIdentity(
      derive(secret, "tls ed25519 key", 32),
      derive(secret, "tls certificate serial", 16),
    ),
  };
}
