import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSecret, readToken, sameToken, SecretFileError } from "./secret.ts";

const SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/** Writes a file with a mode and reads it; the message of the refusal, or the value. */
function attempt(
  read: (file: string) => unknown,
  content: string | Uint8Array,
  mode = 0o600,
  prepare: (file: string) => void = () => {},
): unknown {
  const dir = mkdtempSync(join(tmpdir(), "understudy-secret-"));
  const file = join(dir, "secret");
  try {
    writeFileSync(file, content);
    chmodSync(file, mode);
    prepare(file);
    return read(file);
  } catch (error) {
    assert.ok(error instanceof SecretFileError, String(error));
    assert.ok(error.message.startsWith(file));
    return error.mistake.replaceAll(file, "FILE");
  } finally {
    rmSync(dir, { recursive: true });
  }
}

Deno.test("a secret of 32 bytes in base64 is read, in either alphabet, with or without padding", () => {
  const bytes = Uint8Array.from({ length: 32 }, (_, i) => i);
  assert.deepEqual(attempt(readSecret, `${SECRET}\n`), bytes);
  assert.deepEqual(attempt(readSecret, SECRET.replace("=", "")), bytes);
  assert.deepEqual(attempt(readSecret, "_".repeat(43)), new Uint8Array(32).fill(255));
  assert.deepEqual(attempt(readSecret, SECRET, 0o400), bytes);
});

Deno.test("a secret that others can use is refused with the command that helps", () => {
  for (const mode of [0o640, 0o604, 0o660, 0o610, 0o620, 0o777]) {
    assert.match(String(attempt(readSecret, SECRET, mode)), /mode 0\d+: .*Run: chmod 600 FILE$/);
  }
});

Deno.test("a secret that is short, empty, no base64, too large or no file is refused", () => {
  assert.match(String(attempt(readSecret, "c2hvcnQ=")), /has 5 bytes, and must have at least 32/);
  assert.match(String(attempt(readSecret, " \n")), /is empty/);
  assert.match(String(attempt(readSecret, "not base64 at all, but a sentence!")), /not base64/);
  assert.match(String(attempt(readSecret, "A".repeat(45))), /not base64/);
  assert.match(String(attempt(readSecret, new Uint8Array(100).fill(0xff))), /not base64/);
  assert.match(String(attempt(readSecret, "A".repeat(5000))), /larger than 4096/);
  const asDirectory = (file: string) => {
    rmSync(file);
    mkdirSync(file, { mode: 0o700 });
  };
  assert.match(String(attempt(readSecret, "", 0o600, asDirectory)), /not a regular file/);
});

Deno.test("a missing secret says how to get one", () => {
  const dir = mkdtempSync(join(tmpdir(), "understudy-secret-"));
  assert.throws(
    () => readSecret(join(dir, "none")),
    (error) => error instanceof SecretFileError && error.missing && /init/.test(error.message),
  );
  rmSync(dir, { recursive: true });
});

Deno.test({
  name: "a secret that belongs to another user is refused",
  ignore: Deno.uid() !== 0, // needs root, to give the file away
  fn: () => {
    const give = (file: string) => chownSync(file, 12345, 12345);
    assert.match(String(attempt(readSecret, SECRET, 0o600, give)), /user 12345.*chown 0 FILE/);
  },
});

Deno.test("a token has at least 22 characters that a header can carry", () => {
  assert.equal(attempt(readToken, `${SECRET}\n`), SECRET);
  assert.match(String(attempt(readToken, "short")), /5 characters/);
  assert.match(String(attempt(readToken, "a token with blanks in it")), /characters that/);
  assert.match(String(attempt(readToken, SECRET, 0o644)), /HTTP token has mode 0644/);
});

Deno.test("tokens are compared as a whole", () => {
  assert.ok(sameToken("abc", "abc"));
  assert.ok(!sameToken("ab", "abc") && !sameToken("abd", "abc") && !sameToken("", "abc"));
});
