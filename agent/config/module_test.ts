import assert from "node:assert/strict";
import fc from "fast-check";
import { parseModule } from "./module.ts";
import {
  agentConfig,
  changed,
  checkMistakes,
  type ExpectedMistake,
  HERE,
  MODULE_TEXT,
  mutated,
  show,
} from "./testing.ts";
import type { ModuleConfig } from "./types.ts";

const agent = agentConfig();
const FILE = "/etc/understudy/modules/postgresql.toml";

function right(text: string, format: "toml" | "yaml" = "toml"): ModuleConfig {
  const { module, findings } = parseModule(text, FILE, format, agent);
  assert.deepEqual(findings, []);
  return module!;
}

const second = '[[mirror.directories]]\npath = "/srv/wal"';

const mistakes: ExpectedMistake[] = [
  // name and nodes
  ['name = "postgresql"', "", "name", /expected a module name .*, found nothing/],
  ['name = "postgresql"', `name = "../x" ${HERE}`, "name", /found "\.\.\/x"/],
  ['name = "postgresql"', `name = "${"x".repeat(65)}" ${HERE}`, "name", /it has 65 characters/],
  ['["alpha", "beta"]', `["alpha"] ${HERE}`, "nodes", /exactly two nodes, found 1/],
  ['["alpha", "beta"]', `["alpha",\n"bta" ${HERE}\n]`, "nodes[1]", /\(alpha, beta\).*"beta"\?/],
  ['["alpha", "beta"]', `["alpha",\n"alpha" ${HERE}\n]`, "nodes[1]", /two different nodes/],
  ['["alpha", "beta"]', `"alpha" ${HERE}`, "nodes", /an array of strings, .*write \["alpha"\]/],
  // variables
  [
    'stop = "pg_ctlcluster ${vars.version} main stop -m fast"',
    `stop = "stop \${vars.versoin}" ${HERE}`,
    "application.stop",
    /did you mean "\$\{vars.version\}"\?/,
  ],
  [
    'version = "15"',
    `version = "15"\na = "\${vars.b}" ${HERE}\nb = "\${vars.a}"`,
    "vars.a",
    /lead back to itself, found \$\{vars.a\} → \$\{vars.b\} → \$\{vars.a\}/,
  ],
  [
    'path = "/srv/wal"',
    `path = "wal/\${vars.version}" ${HERE}`,
    "mirror.directories[1].path",
    /found "wal\/15" \(from "wal\/\$\{vars.version\}"\); it must begin/,
  ],
  [
    'version = "15"',
    `version = 15 ${HERE}`,
    "vars.version",
    /a string, found 15; write it in quotes/,
  ],
  // directories
  ["[mirror]\nsync", `[mirorr] ${HERE}\nsync`, "mirorr", /did you mean mirror/],
  ['path = "/srv/wal"', `path = "/" ${HERE}`, "mirror.directories[1].path", /the root directory/],
  ['path = "/srv/wal"', `path = "/usr" ${HERE}`, "mirror.directories[1].path", /the system itself/],
  [
    'path = "/srv/wal"',
    `path = "/proc/1" ${HERE}`,
    "mirror.directories[1].path",
    /pseudo file system/,
  ],
  ['path = "/srv/wal"', `path = "srv" ${HERE}`, "mirror.directories[1].path", /begin with \//],
  [
    'path = "/srv/wal"',
    `path = "/srv/./x" ${HERE}`,
    "mirror.directories[1].path",
    /write "\/srv\/x"/,
  ],
  [
    'path = "/srv/wal"',
    `path = "/var/lib/postgresql/15" ${HERE}`,
    "mirror.directories[1].path",
    /apart from mirror.directories\[0\].*which contains it; mirror the outer one/,
  ],
  [
    'path = "/srv/wal"',
    `path = "/var/lib/postgresql/15/main/pg_wal" ${HERE}`,
    "mirror.directories[1].path",
    /lies in it/,
  ],
  [
    'path = "/srv/wal"',
    `path = "/var/lib/postgresql/\${vars.version}/main/" ${HERE}`,
    "mirror.directories[1].path",
    /is the same/,
  ],
  [
    'path = "/srv/wal"',
    `path = "/var/lib" ${HERE}`,
    "mirror.directories[1].path",
    /holds state_dir \(\/var\/lib\/understudy\)/,
  ],
  [
    'path = "/srv/wal"',
    `path = "/var/lib/understudy/x" ${HERE}`,
    "mirror.directories[1].path",
    /lies in state_dir/,
  ],
  [
    'path = "/srv/wal"',
    `path = "/etc/understudy/modules" ${HERE}`,
    "mirror.directories[1].path",
    /which is modules_dir/,
  ],
  [
    'path = "/srv/wal"',
    `path = "/etc/understudy" ${HERE}`,
    "mirror.directories[1].path",
    /holds modules_dir/,
  ],
  [second, `[[mirror.directories]] ${HERE}`, "mirror.directories[1].path", /found nothing/],
  [
    second,
    `[[mirror.directories]]\nexlude = [] ${HERE}\npath="/x"`,
    "mirror.directories[1].exlude",
    /exclude\?/,
  ],
  [
    '[[mirror.directories]]\npath = "/srv',
    `[mirror.directories] ${HERE}\npath = "/srv`,
    "",
    /redefine/,
  ],
  ['sync = "write"', `sync = "writes" ${HERE}`, "mirror.sync", /did you mean "write"/],
  [
    '"pgsql_tmp/**"',
    `\n"/pgsql_tmp" ${HERE}\n`,
    "mirror.directories[0].exclude[1]",
    /starts with \//,
  ],
  [
    '"pgsql_tmp/**"',
    `\n"pgsql_tmp/" ${HERE}\n`,
    "mirror.directories[0].exclude[1]",
    /ends with \//,
  ],
  ['"pgsql_tmp/**"', `\n"../x" ${HERE}\n`, "mirror.directories[0].exclude[1]", /component "\.\."/],
  ['"pgsql_tmp/**"', `\n"" ${HERE}\n`, "mirror.directories[0].exclude[1]", /is empty/],
  ['"pgsql_tmp/**"', `\n"a\\u0000" ${HERE}\n`, "mirror.directories[0].exclude[1]", /NUL/],
  ['"pgsql_tmp/**"', `\n"!x" ${HERE}\n`, "mirror.directories[0].exclude[1]", /negated/],
  ['"pgsql_tmp/**"', `\n"**" ${HERE}\n`, "mirror.directories[0].exclude[1]", /everything/],
  [
    '"pgsql_tmp/**"',
    `\n7 ${HERE}\n`,
    "mirror.directories[0].exclude[1]",
    /pattern such as .*found 7/,
  ],
  // virtual addresses
  ['"10.77.0.100/24"', `"10.77.0.100" ${HERE}`, "vip[0].address", /as in "10.77.0.100\/24"/],
  ['"10.77.0.100/24"', `"10.77.0.100/33" ${HERE}`, "vip[0].address", /from 1 to 32/],
  ['"10.77.0.100/24"', `"fd00::1/129" ${HERE}`, "vip[0].address", /from 1 to 128/],
  ['"10.77.0.100/24"', `"10.77.0.0/24" ${HERE}`, "vip[0].address", /network itself/],
  ['"10.77.0.100/24"', `"10.77.0.255/24" ${HERE}`, "vip[0].address", /broadcast/],
  [
    '"10.77.0.100/24"',
    `"10.77.0.9/255.255.255.0" ${HERE}`,
    "vip[0].address",
    /255.255.255.0 is 24/,
  ],
  ['"10.77.0.100/24"', `"10.77.0.1/24" ${HERE}`, "vip[0].address", /an address of node alpha/],
  ['"10.77.0.100/24"', `"vip.example.org/24" ${HERE}`, "vip[0].address", /prefix length such as/],
  ['interface = "eth0"', `interface = "eth0123456789012" ${HERE}`, "vip[0].interface", /15 bytes/],
  ['interface = "eth0"', `interface = "eth 0" ${HERE}`, "vip[0].interface", /found "eth 0"/],
  [
    "[application]",
    `[[vip]]\naddress = "10.77.0.100/16" ${HERE}\n[application]`,
    "vip[1].address",
    /again after vip\[0\]/,
  ],
  ["[[vip]]", `[vip] ${HERE}`, "vip", /\[\[vip\]\], .*write two brackets/],
  // application
  [
    'start = "pg_ctlcluster ${vars.version} main start"',
    `start = " " ${HERE}`,
    "application.start",
    /leave the key out/,
  ],
  [
    'start = "pg_ctlcluster ${vars.version} main start"',
    `start = ["a"] ${HERE}`,
    "application.start",
    /an array/,
  ],
  ['start_timeout = "60s"', `start_timeout = 60 ${HERE}`, "application.start_timeout", /"60s"/],
  // checks
  ['kind = "tcp"', `kind = "tpc" ${HERE}`, "checks[0].kind", /did you mean "tcp"/],
  ['kind = "tcp"', "", "checks[0].kind", /found nothing/],
  ['target = "127.0.0.1:5432"', `target = "5432" ${HERE}`, "checks[0].target", /host:port such as/],
  ['target = "127.0.0.1:5432"', "", "checks[0].target", /host:port.*found nothing/],
  ['kind = "tcp"', 'kind = "http"', "checks[0].target", /a URL such as/],
  ['kind = "tcp"', 'kind = "disk"', "checks[0].target", /absolute path/],
  ['kind = "tcp"', 'kind = "vip"', "checks[0].target", /prefix length/],
  [
    'kind = "tcp"\ntarget = "127.0.0.1:5432"',
    `kind = "vip"\ntarget = "10.77.0.101/24" ${HERE}`,
    "checks[0].target",
    /of this module \(10.77.0.100\/24\)/,
  ],
  [
    'kind = "tcp"\ntarget = "127.0.0.1:5432"',
    `kind = "module"\ntarget = "postgresql" ${HERE}`,
    "checks[0].target",
    /another module/,
  ],
  ["failures = 3", `failures = 0 ${HERE}`, "checks[0].failures", /from 1 to 1000, found 0/],
  ['action = "restart"', `action = "reboot" ${HERE}`, "checks[0].action", /"failover", "stop"/],
  [
    'action = "restart"',
    `on = "secondary"\naction = "restart" ${HERE}`,
    "checks[0].action",
    /"none" with on = "secondary"/,
  ],
  [
    'action = "restart"',
    `on = "before-start"\naction = "restart" ${HERE}`,
    "checks[0].action",
    /"none" with on = "before/,
  ],
  [
    "[failover]",
    `[[checks]]\nname = "port" ${HERE}\nkind = "exec"\ntarget = "true"\n[failover]`,
    "checks[1].name",
    /which checks\[0\] has already/,
  ],
  // failover
  [
    'preferred = "alpha"',
    `preferred = "alhpa" ${HERE}`,
    "failover.preferred",
    /did you mean "alpha"/,
  ],
  [
    'preferred = "alpha"\nfailback = "manual"',
    'failback = "auto"',
    "failover.preferred",
    /to swap back to/,
  ],
  [
    'mode = "auto"\npreferred = "alpha"\nfailback = "manual"',
    `mode = "manual"\npreferred = "alpha"\nfailback = "auto" ${HERE}`,
    "failover.failback",
    /"manual" where failover.mode/,
  ],
  ["max_restarts = 3", `max_restarts = -1 ${HERE}`, "failover.max_restarts", /from 0 to 1000/],
  ['window = "24h"', `window = "1d" ${HERE}`, "failover.window", /write "24h"/],
  ['window = "24h"', `windows = "24h" ${HERE}`, "failover.windows", /did you mean window/],
];

Deno.test("each mistake in a module gives its own message, with key and line", () => {
  checkMistakes(MODULE_TEXT, mistakes, FILE, (text) => {
    const { module, findings } = parseModule(text, FILE, "toml", agent);
    return { refused: module === undefined, findings };
  });
});

Deno.test("a right module gives plain data, with variables and defaults filled in", () => {
  const module = right(MODULE_TEXT);
  assert.equal(module.mirror.directories[0].path, "/var/lib/postgresql/15/main");
  assert.deepEqual(module.mirror.directories[1], { path: "/srv/wal", exclude: [] });
  assert.equal(module.application.start, "pg_ctlcluster 15 main start");
  assert.deepEqual(module.checks[0], {
    name: "port",
    kind: "tcp",
    target: "127.0.0.1:5432",
    on: "primary",
    interval: 2000,
    timeout: 1000,
    failures: 3,
    action: "restart",
  });
  assert.equal(module.failover.window, 86_400_000);
});

Deno.test("only the name and one directory are required", () => {
  const module = right('name = "files"\n[[mirror.directories]]\npath = "/srv/files/"\n');
  assert.deepEqual({ ...module, digest: "" }, {
    file: FILE,
    name: "files",
    nodes: ["alpha", "beta"],
    mirror: { sync: "write", directories: [{ path: "/srv/files", exclude: [] }] },
    vip: [],
    application: { start: undefined, stop: undefined, start_timeout: 60000, stop_timeout: 60000 },
    checks: [],
    failover: {
      mode: "auto",
      preferred: undefined,
      failback: "manual",
      max_restarts: 3,
      window: 86_400_000,
    },
    digest: "",
  });
  for (const text of ["", "[mirror]", "[mirror]\ndirectories = []"]) {
    const { module, findings } = parseModule(`name = "x"\n${text}`, FILE, "toml", agent);
    assert.equal(module, undefined);
    assert.match(show(findings), /director/);
  }
});

const YAML = `
name: postgresql
nodes: [alpha, beta]
vars:
  version: "15"
mirror:
  directories:
    - path: /var/lib/postgresql/\${vars.version}/main
      exclude:
        - postmaster.pid
        - pgsql_tmp/**
    - path: /srv/wal
vip:
  - {address: 10.77.0.100/24, interface: eth0}
application:
  start: pg_ctlcluster \${vars.version} main start
  stop: pg_ctlcluster \${vars.version} main stop -m fast
checks:
  - name: port
    kind: tcp
    target: 127.0.0.1:5432
failover:
  preferred: alpha
`;

Deno.test("TOML and YAML of one meaning have one digest, another meaning has another", () => {
  const { digest } = right(MODULE_TEXT);
  assert.match(digest, /^[0-9a-f]{64}$/);
  assert.equal(right(YAML, "yaml").digest, digest);
  assert.equal(right(`# a comment\n${MODULE_TEXT}`).digest, digest);
  assert.notEqual(right(changed(MODULE_TEXT, 'version = "15"', 'version = "16"')).digest, digest);
  assert.notEqual(right(changed(MODULE_TEXT, 'sync = "write"', 'sync = "fsync"')).digest, digest);
});

Deno.test("mistakes in YAML have their lines too", () => {
  const cases: [from: string, to: string, key: string, message: RegExp][] = [
    ["- pgsql_tmp/**", `- pgsql_tmp/ ${HERE}`, "mirror.directories[0].exclude[1]", /ends with/],
    ["- path: /srv/wal", `- paht: /srv/wal ${HERE}`, "mirror.directories[1].paht", /path\?/],
    ["interface: eth0}", `interface: 0} ${HERE}`, "vip[0].interface", /found 0/],
    ["kind: tcp", `kind: null ${HERE}`, "checks[0].kind", /found null/],
    ['version: "15"', `version: 9.10 ${HERE}`, "vars.version", /found 9.1; write it in quotes/],
    ["name: postgresql", `name: postgresql\nname: b ${HERE}`, "", /unique/],
    ["vip:", `vip: !secret ${HERE}`, "", /Unresolved tag/],
    ["failover:", `\tfailover: ${HERE}`, "", /syntax error/],
    ["failover:", `--- ${HERE}\nfailover:`, "", /documents/],
  ];
  for (const [from, to, key, message] of cases) {
    const text = changed(YAML, from, to);
    const { module, findings } = parseModule(text, FILE, "yaml", agent);
    assert.equal(module, undefined, to);
    const line = text.split("\n").findIndex((l) => l.includes(HERE)) + 1;
    const found = findings.find((f) => f.key === key && message.test(f.message));
    assert.ok(found, `${to}\n${show(findings)}`);
    assert.equal(found.line, line, `${to}\n${show(findings)}`);
  }
});

Deno.test("a check without a timeout never takes longer than its interval", () => {
  const text = changed(MODULE_TEXT, 'interval = "2s"\ntimeout = "1s"', 'interval = "500ms"');
  assert.equal(right(text).checks[0].timeout, 500);
});

Deno.test("the default action depends on where a check runs and what there is to restart", () => {
  const action = (check: string, application: string) =>
    right(
      `name = "x"\n[[mirror.directories]]\npath = "/srv/x"\n${application}\n[[checks]]\n` +
        `name = "a"\nkind = "exec"\ntarget = "true"\n${check}`,
    ).checks[0].action;
  const application = '[application]\nstart = "a"\nstop = "b"';
  assert.equal(action("", application), "restart");
  assert.equal(action("", ""), "none");
  assert.equal(action('on = "secondary"', application), "none");
  assert.equal(action('on = "before-start"', application), "wait");
});

Deno.test("oddities that work are warned of and accepted", () => {
  const warned = (from: string, to: string, message: RegExp) => {
    const { module, findings } = parseModule(changed(MODULE_TEXT, from, to), FILE, "toml", agent);
    assert.ok(module);
    assert.deepEqual(findings.map((f) => f.severity), ["warning"]);
    assert.match(findings[0].message, message);
  };
  warned('timeout = "1s"', 'timeout = "5s"', /at most the check's interval \(2s\), found "5s"/);
  warned('stop = "pg_ctlcluster ${vars.version} main stop -m fast"', "", /shut down in order/);
});

Deno.test("a stop without a start, and a restart without an application, are refused", () => {
  const start = 'start = "pg_ctlcluster ${vars.version} main start"';
  const { findings } = parseModule(changed(MODULE_TEXT, start, ""), FILE, "toml", agent);
  assert.deepEqual(findings.map((f) => f.key), ["application.start", "checks[0].action"]);
});

Deno.test("several mistakes are reported at once, also beside values that cannot be read", () => {
  let text = changed(MODULE_TEXT, 'sync = "write"', "sync = 1");
  text = changed(text, 'path = "/srv/wal"', 'path = "/var/lib/postgresql/15"');
  text = changed(text, "failures = 3", 'failures = "3"');
  text = changed(text, 'preferred = "alpha"', 'preferred = "gamma"\npreferd = 1');
  const { findings } = parseModule(text, FILE, "toml", agent);
  assert.deepEqual(findings.map((f) => f.key), [
    "mirror.sync",
    "mirror.directories[1].path",
    "checks[0].failures",
    "failover.preferred",
    "failover.preferd",
  ]);
});

Deno.test("no text makes the parser throw, and a refusal always says why", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        mutated(MODULE_TEXT).map((text) => ({ text, format: "toml" as const })),
        mutated(YAML).map((text) => ({ text, format: "yaml" as const })),
      ),
      ({ text, format }) => {
        const { module, findings } = parseModule(text, FILE, format, agent);
        assert.equal(module === undefined, findings.some((f) => f.severity === "error"));
        if (module) assert.equal(module.nodes.length, 2);
      },
    ),
    { numRuns: 1500 },
  );
});
