/** What the tests of the configuration share: a right configuration, and texts with one mistake. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAgentConfig } from "./agent.ts";
import type { AgentConfig, Finding } from "./types.ts";

/** Stands at the end of the line a mistake is expected on. */
export const HERE = "# <- here";

/** A right config.toml with every table. */
export const AGENT_TEXT = `state_dir = "/var/lib/understudy"
modules_dir = "/etc/understudy/modules"

[[nodes]]
name = "alpha"
addresses = ["10.77.0.1", "10.78.0.1"]

[[nodes]]
name = "beta"
addresses = ["10.77.0.2", "10.78.0.2"]

[cluster]
port = 9700
secret_file = "/etc/understudy/cluster.key"
encryption = "on"

[heartbeat]
interval = "200ms"
timeout = "2s"
ack_timeout = "10s"

[witness]
kind = "understudy"
endpoints = ["10.77.0.9:9701"]

[http]
listen = "127.0.0.1:9010"
token_file = "/etc/understudy/http.token"

[log]
level = "info"
format = "text"
`;

/** A right module with every table. */
export const MODULE_TEXT = `name = "postgresql"
nodes = ["alpha", "beta"]

[vars]
version = "15"

[mirror]
sync = "write"
[[mirror.directories]]
path = "/var/lib/postgresql/\${vars.version}/main"
exclude = ["postmaster.pid", "pgsql_tmp/**"]
[[mirror.directories]]
path = "/srv/wal"

[[vip]]
address = "10.77.0.100/24"
interface = "eth0"

[application]
start = "pg_ctlcluster \${vars.version} main start"
stop = "pg_ctlcluster \${vars.version} main stop -m fast"
start_timeout = "60s"
stop_timeout = "60s"

[[checks]]
name = "port"
kind = "tcp"
target = "127.0.0.1:5432"
interval = "2s"
timeout = "1s"
failures = 3
action = "restart"

[failover]
mode = "auto"
preferred = "alpha"
failback = "manual"
max_restarts = 3
window = "24h"
`;

/** The checked configuration that {@link AGENT_TEXT} stands for. */
export function agentConfig(file = "/etc/understudy/config.toml", text = AGENT_TEXT): AgentConfig {
  const { config, findings } = parseAgentConfig(text, file);
  assert.deepEqual(findings, []);
  return config!;
}

/** The text with one piece replaced; the piece must occur. */
export function changed(text: string, from: string, to: string): string {
  assert.ok(text.includes(from), `the text has no ${JSON.stringify(from)}`);
  return text.replace(from, () => to);
}

/** The line that ends in the marker, or undefined. */
export function markedLine(text: string): number | undefined {
  const at = text.split("\n").findIndex((line) => line.includes(HERE));
  return at < 0 ? undefined : at + 1;
}

/** Findings as one text, for messages of failed assertions. */
export function show(findings: readonly Finding[]): string {
  return findings.map((f) => `${f.severity} ${f.line} ${f.message}`).join("\n");
}

/** What is changed in a right text, the key complained of, and what the message must say. */
export type ExpectedMistake = [from: string, to: string, key: string, message: RegExp];

/**
 * Makes each mistake by itself in a right text: the file must be refused with exactly one error,
 * for that key, on the marked line, in words of its own.
 */
export function checkMistakes(
  right: string,
  mistakes: readonly ExpectedMistake[],
  file: string,
  parse: (text: string) => { refused: boolean; findings: Finding[] },
): void {
  const disagreements: string[] = [];
  const messages = new Map<string, string>();
  for (const [from, to, key, message] of mistakes) {
    const text = changed(right, from, to);
    const { refused, findings } = parse(text);
    const [f] = findings;
    const again = f && messages.get(f.message);
    const wrong = !refused
      ? "accepted"
      : findings.length !== 1 || f.severity !== "error"
      ? "not one error"
      : f.key !== key
      ? `not for ${key}`
      : !message.test(f.message)
      ? `does not say ${message}`
      : f.file !== file
      ? "names another file"
      : markedLine(text) !== undefined && f.line !== markedLine(text)
      ? `not on line ${markedLine(text)}`
      : again !== undefined
      ? `says the same as ${again}`
      : undefined;
    if (wrong !== undefined) disagreements.push(`${to}: ${wrong}:\n${show(findings)}`);
    if (f) messages.set(f.message, to);
  }
  assert.equal(disagreements.join("\n\n"), "");
}

/** A text with some of its characters removed, doubled, swapped or replaced. */
export function mutated(text: string) {
  const edit = fc.record({
    at: fc.nat(text.length),
    length: fc.nat(12),
    insert: fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constantFrom(
        '"',
        "'",
        '"""',
        "[",
        "]",
        "[[",
        "{",
        "}",
        "=",
        "\n",
        "#",
        ".",
        "${vars.",
        "- ",
        ": ",
      ),
    ),
  });
  return fc.array(edit, { minLength: 1, maxLength: 5 }).map((edits) =>
    edits.reduce((t, e) => t.slice(0, e.at) + e.insert + t.slice(e.at + e.length), text)
  );
}
