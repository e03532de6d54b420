import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parseAgentConfig } from "./agent.ts";
import { checkConfig } from "./check.ts";
import { InitError, initFiles, type InitOptions, writeInit } from "./init.ts";
import { readSecret, readToken } from "./secret.ts";

const nodes = [
  { name: "alpha", addresses: ["10.77.0.1", "10.78.0.1"] },
  { name: "beta", addresses: ["10.77.0.2", "10.78.0.2"] },
];

function scratch(work: (dir: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), "understudy-init-"));
  try {
    work(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

Deno.test("init gives a configuration for the nodes, a secret and a token", () => {
  const [config, secret, token] = initFiles({ config: "/etc/understudy/config.toml", nodes });
  assert.deepEqual([config, secret, token].map((f) => [f.path, f.mode]), [
    ["/etc/understudy/config.toml", 0o644],
    ["/etc/understudy/cluster.key", 0o600],
    ["/etc/understudy/http.token", 0o600],
  ]);
  const { config: parsed, findings } = parseAgentConfig(config.content, config.path);
  assert.deepEqual(findings, []);
  assert.deepEqual(parsed?.nodes, nodes);
  assert.equal(parsed?.cluster.secret_file, secret.path);
  assert.notEqual(secret.content, token.content);
  assert.match(secret.content, /^[A-Za-z0-9+/]{43}=\n$/);
});

Deno.test("every pair of right nodes gives a right configuration", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}[a-z0-9]$/);
  fc.assert(
    fc.property(fc.uniqueArray(name, { minLength: 2, maxLength: 2 }), ([a, b]) => {
      const pair = [{ name: a, addresses: ["fd00::1"] }, { name: b, addresses: ["fd00::2"] }];
      const [file] = initFiles({ config: `/opt/${a} "x"/c.toml`, nodes: pair });
      assert.deepEqual(parseAgentConfig(file.content, file.path).config?.nodes, pair);
    }),
  );
});

Deno.test("wrong nodes are refused in the words of the configuration", () => {
  const wrong = (nodes: InitOptions["nodes"]) => () =>
    initFiles({ config: "/c/config.toml", nodes });
  assert.throws(wrong([nodes[0]]), /exactly two nodes/);
  assert.throws(wrong([nodes[0], { name: "beta", addresses: ["beta.example"] }]), InitError);
  assert.throws(wrong([nodes[0], { name: 'b"\nx = 1', addresses: ["10.0.0.1"] }]), /node name/);
});

Deno.test("what init writes can be used at once, and nobody else can read the secrets", () => {
  scratch((dir) => {
    const written = writeInit({ config: join(dir, "new/config.toml"), nodes });
    assert.deepEqual(
      readdirSync(join(dir, "new")).sort(),
      ["cluster.key", "config.toml", "http.token", "modules"],
    );
    for (const { path, mode } of written) assert.equal(statSync(path).mode & 0o777, mode, path);
    assert.equal(readSecret(join(dir, "new/cluster.key")).length, 32);
    assert.ok(readToken(join(dir, "new/http.token")));
    assert.deepEqual(checkConfig(join(dir, "new/config.toml")), []);
  });
});

Deno.test("init overwrites nothing, and leaves nothing behind when it refuses", () => {
  scratch((dir) => {
    writeFileSync(join(dir, "cluster.key"), "precious");
    assert.throws(
      () => writeInit({ config: join(dir, "config.toml"), nodes }),
      (e) => e instanceof InitError && /cluster\.key exists already/.test(e.message),
    );
    assert.deepEqual(readdirSync(dir), ["cluster.key"]);
    assert.equal(readFileSync(join(dir, "cluster.key"), "utf8"), "precious");
  });
});

Deno.test("a place that cannot be written is an error that says so", () => {
  scratch((dir) => {
    writeFileSync(join(dir, "file"), "");
    const options = { config: join(dir, "file/config.toml"), nodes };
    assert.throws(() => writeInit(options), /InitError: The configuration cannot be written/);
  });
});
