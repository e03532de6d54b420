import assert from "node:assert/strict";
import { allocate, openLibc } from "../platform/linux/libc.ts";
import { deriveKeys, parseSecret } from "./keys.ts";
import {
  createTls,
  freeTlsContext,
  openOpenSsl,
  openTlsContext,
  shakeHands,
  type TlsContext,
} from "./openssl.ts";
import { testSecret } from "./testing.ts";

const libc = openLibc();
const identity = deriveKeys(testSecret).identity;

/** Shakes hands over a pair of local sockets until both sides have an answer. */
function handshake(dialling: TlsContext, accepting: TlsContext): string[] {
  const memory = allocate(128);
  assert.equal(libc.sys.socketpair(1, 1 | 0o4000, 0, memory.address), 0);
  const ends = [0, 4].map((at) => memory.view.getInt32(at, true));
  const sides = [
    { tls: dialling, connection: createTls(dialling, ends[0], "dial"), said: "" },
    { tls: accepting, connection: createTls(accepting, ends[1], "accept"), said: "" },
  ];
  for (let turn = 0; turn < 20 && sides.some(({ said }) => said === ""); turn++) {
    for (const side of sides) {
      if (side.said !== "") continue;
      const step = shakeHands(side.tls, side.connection);
      if (typeof step === "object") side.said = step.kind;
      else if (step === "done") side.said = "done";
    }
  }
  for (const { tls, connection } of sides) tls.openssl.ssl.SSL_free(connection);
  for (const fd of ends) libc.sys.close(fd);
  return sides.map(({ said }) => said);
}

Deno.test("holders of the same secret shake hands, again and again", () => {
  const [a, b] = [openTlsContext(identity), openTlsContext(identity)];
  for (let i = 0; i < 20; i++) assert.deepEqual(handshake(a, b), ["done", "done"]);
  freeTlsContext(a);
  freeTlsContext(b);
});

Deno.test("holders of different secrets both learn that the keys differ", () => {
  const other = deriveKeys(parseSecret("z".repeat(32), "other")).identity;
  const [a, b] = [openTlsContext(identity), openTlsContext(other)];
  assert.deepEqual(handshake(a, b), ["other-key", "other-key"]);
  assert.deepEqual(handshake(b, a), ["other-key", "other-key"]);
  freeTlsContext(a);
  freeTlsContext(b);
});

Deno.test("a missing OpenSSL is named, with the package to install", () => {
  assert.throws(
    () => openOpenSsl(["libssl.so.99", "libcrypto.so.99"]),
    /OpenSSL 3 \(libssl\.so\.99 .* cannot be loaded: .*Install it \(Debian: libssl3/s,
  );
});
