/** The cluster secret, and the keys that come from it. */

import { ClusterError } from "./events.ts";

/** Bytes of a generated secret. */
const secretBytes = 32;

/** The text of a new secret file. */
export function createSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(secretBytes));
  return bytes.toHex() + "\n";
}

/**
 * The secret in the text of a secret file: white space around it does not count.
 * Throws {@link ClusterError} where it is too short to be a secret.
 */
export function parseSecret(text: string, file: string): Uint8Array<ArrayBuffer> {
  const secret = text.trim();
  if (secret.length < 32) {
    throw new ClusterError(
      `The cluster secret in ${file} has ${secret.length} characters where at least 32 are ` +
        `needed: make one with \`understudy init\` and copy it to every node`,
    );
  }
  return new TextEncoder().encode(secret);
}
