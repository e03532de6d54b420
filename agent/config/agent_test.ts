import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { loadAgentConfig, parseAgentConfig } from "./agent.ts";
import {
  AGENT_TEXT,
  agentConfig,
  changed,
  checkMistakes,
  type ExpectedMistake,
  HERE,
  mutated,
  show,
} from "./testing.ts";

const mistakes: ExpectedMistake[] = [
  // keys
  [
    'timeout = "2s"',
    `tmeout = "2s" ${HERE}`,
    "heartbeat.tmeout",
    /timeout.*did you mean timeout\?/,
  ],
  [
    'encryption = "on"',
    `encription = "on" ${HERE}`,
    "cluster.encription",
    /did you mean encryption/,
  ],
  ["[log]", `[loging] ${HERE}`, "loging", /unknown key loging; did you mean log/],
  ["[log]", `[colour] ${HERE}`, "colour", /one of the keys state_dir, .*unknown key colour$/],
  ["[log]", `[log]\nsecret_file = "/x" ${HERE}`, "log.secret_file", /belongs in \[cluster\]/],
  ["[log]", `[log]\nstate_dir = "/x" ${HERE}`, "log.state_dir", /at the top of the file/],
  ["[log]", `[log]\naddresses = ["10.0.0.1"] ${HERE}`, "log.addresses", /belongs in \[\[nodes\]\]/],
  ["[log]", `[log]\n"a.b" = 1 ${HERE}`, 'log."a.b"', /unknown key "a\.b"/],
  ['name = "beta"', `nam = "beta" ${HERE}\nname = "beta"`, "nodes[1].nam", /did you mean name/],
  // kinds of values
  ["port = 9700", `port = "9700" ${HERE}`, "cluster.port", /found "9700"; write it without quotes/],
  ["port = 9700", `port = 0 ${HERE}`, "cluster.port", /from 1 to 65535, found 0/],
  ["port = 9700", `port = 65536 ${HERE}`, "cluster.port", /found 65536/],
  ["port = 9700", `port = 97.5 ${HERE}`, "cluster.port", /whole number.*found 97\.5/],
  ["port = 9700", `port = nan ${HERE}`, "cluster.port", /found NaN/],
  [
    'encryption = "on"',
    `encryption = true ${HERE}`,
    "cluster.encryption",
    /found true; did you mean "on"/,
  ],
  [
    'encryption = "on"',
    `encryption = "no" ${HERE}`,
    "cluster.encryption",
    /"on" or "off", found "no"; did you mean "off"/,
  ],
  ['encryption = "on"', `encryption = 1979-05-27 ${HERE}`, "cluster.encryption", /found a date/],
  ['level = "info"', `level = "warn" ${HERE}`, "log.level", /did you mean "warning"/],
  ['format = "text"', `format = "jsn" ${HERE}`, "log.format", /did you mean "json"/],
  ['kind = "understudy"', `kind = "etdc" ${HERE}`, "witness.kind", /did you mean "etcd"/],
  ['kind = "understudy"', "", "witness.kind", /found nothing/],
  // durations
  ['timeout = "2s"', `timeout = 2 ${HERE}`, "heartbeat.timeout", /needs a unit, such as "2s"/],
  ['timeout = "2s"', `timeout = "2" ${HERE}`, "heartbeat.timeout", /needs a unit, such as "2s"/],
  ['timeout = "2s"', `timeout = "2 sec" ${HERE}`, "heartbeat.timeout", /; write "2s"/],
  ['timeout = "2s"', `timeout = "1.5s" ${HERE}`, "heartbeat.timeout", /; write "1500ms"/],
  ['timeout = "2s"', `timeout = "1m30s" ${HERE}`, "heartbeat.timeout", /; write "90s"/],
  [
    'timeout = "2s"',
    `timeout = "2 lightyears" ${HERE}`,
    "heartbeat.timeout",
    /"lightyears" is not/,
  ],
  ['timeout = "2s"', `timeout = "-2s" ${HERE}`, "heartbeat.timeout", /cannot be negative/],
  ['timeout = "2s"', `timeout = "24h" ${HERE}`, "heartbeat.timeout", /to "1h".*too long/],
  ['interval = "200ms"', `interval = "0s" ${HERE}`, "heartbeat.interval", /from "10ms".*too short/],
  ['interval = "200ms"', `interval = "soon" ${HERE}`, "heartbeat.interval", /found "soon"$/],
  [
    'timeout = "2s"',
    `timeout = "500ms" ${HERE}`,
    "heartbeat.timeout",
    /3 heartbeat intervals \(600ms\)/,
  ],
  ['ack_timeout = "10s"', `ack_timeout = "400ms" ${HERE}`, "heartbeat.ack_timeout", /intervals/],
  // nodes and addresses
  [
    'addresses = ["10.77.0.2"',
    `addresses = [\n"10.77.0.1" ${HERE}\n`,
    "nodes[1].addresses[0]",
    /which alpha has/,
  ],
  [
    '"10.77.0.2", "10.78.0.2"',
    `"10.77.0.2" ${HERE}\n`,
    "nodes[1].addresses",
    /each of the 2 network.*found 1/,
  ],
  [
    '"10.77.0.2", "10.78.0.2"]',
    `] ${HERE}`,
    "nodes[1].addresses",
    /at least one address, found an empty array/,
  ],
  [
    '["10.77.0.2", "10.78.0.2"]',
    `"10.77.0.2" ${HERE}`,
    "nodes[1].addresses",
    /write \["10.77.0.2"\]/,
  ],
  [
    '"10.78.0.2"',
    `\n"10.78.0.2/24" ${HERE}\n`,
    "nodes[1].addresses[1]",
    /prefix length: "10.78.0.2"/,
  ],
  ['"10.78.0.2"', `\n"10.78.0.2:9700" ${HERE}\n`, "nodes[1].addresses[1]", /leave out the port/],
  ['"10.78.0.2"', `\n"beta.example.org" ${HERE}\n`, "nodes[1].addresses[1]", /not looked up/],
  ['"10.78.0.2"', `\n"10.78.0.256" ${HERE}\n`, "nodes[1].addresses[1]", /found "10.78.0.256"$/],
  [
    '"10.78.0.2"',
    `\n"10.078.0.2" ${HERE}\n`,
    "nodes[1].addresses[1]",
    /leading zeros: "10.78.0.2"/,
  ],
  ['"10.78.0.2"', `\n"0.0.0.0" ${HERE}\n`, "nodes[1].addresses[1]", /no host's address/],
  ['"10.78.0.2"', `\n"224.0.0.1" ${HERE}\n`, "nodes[1].addresses[1]", /multicast/],
  ['"10.78.0.2"', `\n"fe80::1" ${HERE}\n`, "nodes[1].addresses[1]", /link-local/],
  [
    '"10.78.0.2"',
    `\n"::ffff:10.78.0.2" ${HERE}\n`,
    "nodes[1].addresses[1]",
    /as IPv4: "10.78.0.2"/,
  ],
  ['"10.78.0.2"', `\n"fd00::2" ${HERE}\n`, "nodes[1].addresses[1]", /IPv4 address, as nodes\[0\]/],
  ['"10.78.0.2"', `\n78 ${HERE}\n`, "nodes[1].addresses[1]", /found 78/],
  ['name = "beta"', `name = "Alpha" ${HERE}`, "nodes[1].name", /"Alpha", which nodes\[0\] has/],
  ['name = "beta"', `name = "-beta" ${HERE}`, "nodes[1].name", /a node name of at most 253/],
  ['name = "beta"', `name = "be ta" ${HERE}`, "nodes[1].name", /found "be ta"/],
  [
    'name = "beta"',
    `name = "${"b".repeat(254)}" ${HERE}`,
    "nodes[1].name",
    /it has 254 characters/,
  ],
  ['name = "beta"', `name = 2 ${HERE}`, "nodes[1].name", /write it in quotes/],
  [
    "[cluster]",
    '[[nodes]]\nname = "gamma"\naddresses = ["10.77.0.3", "10.78.0.3"]\n[cluster]',
    "nodes",
    /exactly two nodes.*found 3; clusters of more/,
  ],
  // endpoints
  ['listen = "127.0.0.1:9010"', `listen = "127.0.0.1" ${HERE}`, "http.listen", /"127.0.0.1:9010"$/],
  ['listen = "127.0.0.1:9010"', `listen = ":9010" ${HERE}`, "http.listen", /"0.0.0.0:9010"$/],
  ['listen = "127.0.0.1:9010"', `listen = "::1" ${HERE}`, "http.listen", /"\[::1\]:9010"$/],
  ['listen = "127.0.0.1:9010"', `listen = "127.0.0.1:99999" ${HERE}`, "http.listen", /1 to 65535/],
  [
    'listen = "127.0.0.1:9010"',
    `listen = "http://127.0.0.1:1" ${HERE}`,
    "http.listen",
    /leave out/,
  ],
  [
    'listen = "127.0.0.1:9010"',
    `listen = "127.0.0.256:9010" ${HERE}`,
    "http.listen",
    /no host name/,
  ],
  ['listen = "127.0.0.1:9010"', `listen = "0.0.0.0:9700" ${HERE}`, "http.listen", /another port/],
  ['listen = "127.0.0.1:9010"', `listen = 9010 ${HERE}`, "http.listen", /found 9010/],
  ['["10.77.0.9:9701"]', `[\n"10.77.0.9" ${HERE}\n]`, "witness.endpoints[0]", /add the port/],
  [
    '["10.77.0.9:9701"]',
    `[\n"10.77.0.1:9701" ${HERE}\n]`,
    "witness.endpoints[0]",
    /address of node alpha/,
  ],
  ['["10.77.0.9:9701"]', `[] ${HERE}`, "witness.endpoints", /at least one endpoint/],
  [
    '["10.77.0.9:9701"]',
    `["10.77.0.9:9701",\n"10.77.0.9:9701" ${HERE}\n]`,
    "witness.endpoints[1]",
    /each endpoint once/,
  ],
  [
    'kind = "understudy"\nendpoints = ["10.77.0.9:9701"]',
    `kind = "none"\nendpoints = ["10.77.0.9:9701"] ${HERE}`,
    "witness.endpoints",
    /no endpoints with witness.kind = "none"/,
  ],
  ['kind = "understudy"', `kind = "ping"`, "witness.endpoints[0]", /leave out the port/],
  // paths
  [
    'state_dir = "/var/lib/understudy"',
    `state_dir = "var/lib" ${HERE}`,
    "state_dir",
    /begin with \//,
  ],
  ['state_dir = "/var/lib/understudy"', `state_dir = "~/state" ${HERE}`, "state_dir", /~ is not/],
  [
    'state_dir = "/var/lib/understudy"',
    `state_dir = "/var/../x" ${HERE}`,
    "state_dir",
    /write "\/x"/,
  ],
  [
    'state_dir = "/var/lib/understudy"',
    `state_dir = "/var//lib" ${HERE}`,
    "state_dir",
    /"\/var\/lib"/,
  ],
  ['state_dir = "/var/lib/understudy"', `state_dir = "/a\\u0000b" ${HERE}`, "state_dir", /NUL/],
  ['state_dir = "/var/lib/understudy"', `state_dir = "" ${HERE}`, "state_dir", /found ""/],
  [
    'state_dir = "/var/lib/understudy"',
    `state_dir = "/${"x".repeat(256)}" ${HERE}`,
    "state_dir",
    /longer than 255 bytes/,
  ],
  [
    'token_file = "/etc/understudy/http.token"',
    `token_file = "/etc/understudy/cluster.key" ${HERE}`,
    "http.token_file",
    /path of its own.*which is cluster.secret_file/,
  ],
  [
    'modules_dir = "/etc/understudy/modules"',
    `modules_dir = "/etc/understudy" ${HERE}`,
    "modules_dir",
    /module files only/,
  ],
  // structure
  ["[heartbeat]", `[[heartbeat]] ${HERE}`, "heartbeat", /\[heartbeat\].*write single brackets/],
  ["[http]", `[heartbeat] ${HERE}\n[http]`, "", /already defined/],
  // syntax
  ["port = 9700", `port = ${HERE}`, "", /valid TOML, found a syntax error at column/],
  ["port = 9700", `port = 9700\nport = 9701 ${HERE}`, "", /redefine/],
  ['encryption = "on"', `encryption = "on ${HERE}`, "", /syntax error/],
  ["[cluster]", `[cluster ${HERE}`, "", /syntax error/],
];

Deno.test("each mistake in config.toml gives its own message, with key and line", () => {
  const file = "/etc/understudy/config.toml";
  checkMistakes(AGENT_TEXT, mistakes, file, (text) => {
    const { config, findings } = parseAgentConfig(text, file);
    return { refused: config === undefined, findings };
  });
});

Deno.test("a right configuration gives plain data with durations in milliseconds", () => {
  const config = agentConfig();
  assert.deepEqual(config.heartbeat, { interval: 200, timeout: 2000, ack_timeout: 10000 });
  assert.deepEqual(config.nodes[1], { name: "beta", addresses: ["10.77.0.2", "10.78.0.2"] });
  assert.deepEqual(config.witness, { kind: "understudy", endpoints: ["10.77.0.9:9701"] });
});

Deno.test("only the nodes are required; the rest has defaults", () => {
  const text =
    '[[nodes]]\nname="a"\naddresses=["10.0.0.1"]\n[[nodes]]\nname="b"\naddresses=["10.0.0.2"]';
  assert.deepEqual(agentConfig("/c/config.toml", text), {
    file: "/c/config.toml",
    state_dir: "/var/lib/understudy",
    modules_dir: "/etc/understudy/modules",
    nodes: [{ name: "a", addresses: ["10.0.0.1"] }, { name: "b", addresses: ["10.0.0.2"] }],
    cluster: { port: 9700, secret_file: "/etc/understudy/cluster.key", encryption: "on" },
    heartbeat: { interval: 200, timeout: 2000, ack_timeout: 10000 },
    witness: { kind: "none", endpoints: [] },
    http: { listen: "127.0.0.1:9010", token_file: "/etc/understudy/http.token" },
    log: { level: "info", format: "text" },
  });
});

Deno.test("inline arrays of tables, IPv6 in any spelling and YAML are read alike", () => {
  const inline =
    `nodes = [{ name = "a", addresses = ["FD00:0:0::1"] }, { name = "b", addresses = ["fd00::2"] }]`;
  assert.deepEqual(agentConfig("/c/config.toml", inline).nodes[0].addresses, ["fd00::1"]);
  const yaml =
    "nodes:\n  - {name: a, addresses: [10.0.0.1]}\n  - name: b\n    addresses: [10.0.0.2]\n" +
    "cluster:\n  encryption: on\n";
  assert.equal(agentConfig("/c/config.yaml", yaml).cluster.encryption, "on");
});

Deno.test("witnesses of every kind have endpoints of their own kind", () => {
  const with_ = (witness: string) =>
    agentConfig(
      undefined,
      changed(AGENT_TEXT, 'kind = "understudy"\nendpoints = ["10.77.0.9:9701"]', witness),
    ).witness;
  assert.deepEqual(with_('kind = "ping"\nendpoints = ["10.77.0.254"]').endpoints, ["10.77.0.254"]);
  assert.deepEqual(
    with_('kind = "etcd"\nendpoints = ["https://etcd-1.example:2379", "10.77.0.9:2379"]').endpoints,
    ["https://etcd-1.example:2379", "10.77.0.9:2379"],
  );
  assert.deepEqual(with_('kind = "none"').endpoints, []);
});

Deno.test("several mistakes are reported at once, in the order of the file", () => {
  let text = changed(AGENT_TEXT, 'state_dir = "/var/lib/understudy"', 'state_dir = "x"');
  text = changed(text, 'name = "beta"', 'name = "alpha"');
  text = changed(text, "port = 9700", 'port = "x"\nprot = 1');
  text = changed(text, 'timeout = "2s"', 'timeout = "300ms"');
  text = changed(text, "[log]", "[logs]");
  const { findings } = parseAgentConfig(text, "c.toml");
  assert.deepEqual(findings.map((f) => f.key), [
    "state_dir",
    "nodes[1].name",
    "cluster.port",
    "cluster.prot",
    "heartbeat.timeout",
    "logs",
  ]);
  assert.deepEqual(findings.map((f) => f.line), [1, 9, 13, 14, 20, 31]);
});

Deno.test("missing nodes and missing names say what to write", () => {
  assert.match(
    show(parseAgentConfig("[cluster]\n", "c.toml").findings),
    /undefined nodes: expected an array of tables, each beginning with \[\[nodes\]\], found nothing/,
  );
  assert.match(
    show(parseAgentConfig(changed(AGENT_TEXT, 'name = "beta"', ""), "c.toml").findings),
    /error 8 nodes\[1\]\.name: expected a node name .*, found nothing/,
  );
  const single = '[nodes]\nname = "a"\n';
  assert.match(
    show(parseAgentConfig(single, "c.toml").findings),
    /error 1 nodes: .*write two brackets/,
  );
});

Deno.test("a misspelt key is complained of once, not also as the key that is missing", () => {
  const text = changed(AGENT_TEXT, 'name = "beta"', 'nmae = "beta"');
  const { findings } = parseAgentConfig(text, "c.toml");
  assert.deepEqual(findings.map((f) => f.key), ["nodes[1].nmae"]);
  const tables = parseAgentConfig(AGENT_TEXT.replaceAll("[[nodes]]", "[[node]]"), "c.toml");
  assert.deepEqual(tables.findings.map((f) => f.key), ["node"]);
});

Deno.test("a witness of etcd on a node is warned of and accepted", () => {
  const text = changed(
    AGENT_TEXT,
    'kind = "understudy"\nendpoints = ["10.77.0.9:9701"]',
    'kind = "etcd"\nendpoints = ["http://10.77.0.1:2379"]',
  );
  const { config, findings } = parseAgentConfig(text, "c.toml");
  assert.ok(config);
  assert.deepEqual(findings.map((f) => f.severity), ["warning"]);
});

Deno.test("files that cannot be a configuration are refused with the reason", async (t) => {
  const dir = mkdtempSync(join(Deno.env.get("TMPDIR") ?? "/tmp", "understudy-config-"));
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  mkdirSync(join(dir, "directory"));
  const cases: [name: string, path: string, message: RegExp, line?: number][] = [
    ["missing", join(dir, "none.toml"), /no such file/],
    ["a directory", join(dir, "directory"), /found a directory/],
    ["a device", "/dev/null", /a device, pipe or socket/],
    ["below a file", join(file("plain", "x"), "c.toml"), /error on reading/],
    ["unreadable", "/proc/self/mem", /error on reading/],
    ["empty", file("empty.toml", ""), /an empty file/],
    ["blank", file("blank.toml", " \n\n"), /only blanks/],
    ["too large", file("large.toml", "#".repeat(1024 * 1024 + 1)), /at most 1 MiB/],
    [
      "not UTF-8",
      file("latin.toml", new Uint8Array([0x61, 0x3d, 0x31, 0x0a, 0x23, 0xe4, 0x0a])),
      /UTF-8/,
      2,
    ],
  ];
  for (const [name, path, message, line] of cases) {
    await t.step(name, () => {
      const { config, findings } = loadAgentConfig(path);
      assert.equal(config, undefined);
      assert.equal(findings.length, 1);
      assert.match(findings[0].message, message);
      assert.equal(findings[0].line, line);
      assert.equal(findings[0].file, path);
    });
  }
  await t.step("a byte order mark is passed over", () => {
    const path = file("bom.toml", `\ufeff${AGENT_TEXT}`);
    assert.ok(loadAgentConfig(path).config, show(loadAgentConfig(path).findings));
  });
  rmSync(dir, { recursive: true });
});

Deno.test("no text makes the parser throw, and a refusal always says why", () => {
  fc.assert(
    fc.property(
      fc.oneof(mutated(AGENT_TEXT), fc.string({ unit: "binary", maxLength: 200 })),
      fc.constantFrom("c.toml", "c.yaml"),
      (text, file) => {
        const { config, findings } = parseAgentConfig(text, file);
        const errors = findings.filter((f) => f.severity === "error");
        assert.equal(config === undefined, errors.length > 0);
        const lines = text.split("\n").length;
        for (const f of findings) {
          assert.ok(f.line === undefined || (f.line >= 1 && f.line <= lines));
        }
      },
    ),
    { numRuns: 1500 },
  );
});

Deno.test("deep nesting and YAML that multiplies itself are refused, not run into", () => {
  const deep = `x = ${"[".repeat(20000)}${"]".repeat(20000)}`;
  assert.equal(parseAgentConfig(deep, "c.toml").config, undefined);
  assert.equal(parseAgentConfig("[".repeat(20000), "c.yaml").config, undefined);
  const bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" +
    "bcdefghi".split("").map((c, i) =>
      `${c}: &${c} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(",")}]\n`
    ).join("");
  assert.match(show(parseAgentConfig(bomb, "c.yaml").findings), /alias/);
});
