import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { certificateName, der, oid } from "./certificate.ts";
import { ClusterError } from "./events.ts";
import { createSecret, deriveKeys, parseSecret } from "./keys.ts";

const secret = (text: string) => parseSecret(text, "cluster.key");
const first = "a".repeat(32);

Deno.test("the same secret gives the same keys and the same certificate, byte for byte", () => {
  assert.deepEqual(deriveKeys(secret(first)), deriveKeys(secret(`  ${first}\n`)));
});

Deno.test("another secret gives other keys, and no two keys of one secret are equal", () => {
  const one = deriveKeys(secret(first));
  const other = deriveKeys(secret("b".repeat(32)));
  assert.notDeepEqual(one.heartbeat, other.heartbeat);
  assert.notDeepEqual(one.link, other.link);
  assert.notEqual(one.identity.certificatePem, other.identity.certificatePem);
  assert.notDeepEqual(one.heartbeat, one.link);
});

Deno.test("the derivation is fixed: nodes of different releases share their keys", () => {
  const { heartbeat, link, identity } = deriveKeys(secret(first));
  assert.equal(
    heartbeat.toHex(),
    "9b9a1cd30fab3d8e20c8187f2eaa950aee0016d7d1b6a69921cf7197c1cd6530",
  );
  assert.equal(link.toHex(), "141f565101604ae391a520d9bf727ca0b3d67438d18f001b95dbf1ebd69acdc1");
  assert.equal(
    new X509Certificate(identity.certificatePem).fingerprint256,
    "95:9B:08:59:A3:51:DA:04:12:BA:62:66:A0:F6:16:F9:46:DA:4D:4D:85:42:07:C4:D6:1E:1F:1F:1A:AC:67:62",
  );
});

Deno.test("the certificate is one that other software reads and that never expires", () => {
  const certificate = new X509Certificate(deriveKeys(secret(first)).identity.certificatePem);
  assert.equal(certificate.subject, `CN=${certificateName}`);
  assert.equal(certificate.issuer, certificate.subject);
  assert.match(certificate.validFrom, /1970/);
  assert.match(certificate.validTo, /9999/);
  assert(certificate.verify(certificate.publicKey));
});

Deno.test("a generated secret is one, and each is another", () => {
  assert.notEqual(createSecret(), createSecret());
  assert.equal(secret(createSecret()).length, 64);
});

Deno.test("a short secret is refused, with what to do", () => {
  assert.throws(
    () => secret("password\n"),
    (error: Error) =>
      error instanceof ClusterError &&
      /cluster\.key has 8 characters.*understudy init/.test(error.message),
  );
});

Deno.test("DER lengths and object identifiers are in their shortest form", () => {
  assert.equal(der(4, new Uint8Array(127)).subarray(0, 3).toHex(), "047f00");
  assert.equal(der(4, new Uint8Array(128)).subarray(0, 3).toHex(), "048180");
  assert.equal(der(4, new Uint8Array(65536)).subarray(0, 5).toHex(), "0483010000");
  assert.equal(oid("1.2.840.113549").toHex(), "06062a864886f70d");
});
