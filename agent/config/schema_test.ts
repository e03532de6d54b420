import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { parseAgentConfig } from "./agent.ts";
import { parseModule } from "./module.ts";
import { agentJsonSchema, agentSchema, moduleJsonSchema, moduleSchema } from "./schema.ts";
import { AGENT_TEXT, agentConfig, MODULE_TEXT, show } from "./testing.ts";
import { knownKeys } from "./validate.ts";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const example = read("config.example.toml");
const generic = read("modules/generic.toml");

/** The text with the settings that are switched off (`#key`, no blank) switched on. */
const allOn = (text: string) => text.replace(/^#(?=[\w[])/gm, "");

/** Every key of a document, as {@link knownKeys} writes them. */
function keysOf(value: unknown, prefix = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => keysOf(item, `${prefix}[]`));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const path = prefix === "" ? key : `${prefix}.${key}`;
    return [path, ...keysOf(child, path)];
  });
}

Deno.test("config.example.toml is a right configuration, as it is and with everything on", () => {
  for (const text of [example, allOn(example)]) {
    const { config, findings } = parseAgentConfig(text, "/etc/understudy/config.toml");
    assert.ok(config, show(findings));
    assert.deepEqual(findings, []);
  }
});

Deno.test("config.example.toml has every key, and shows the defaults", () => {
  const keys = new Set(keysOf(parse(allOn(example))));
  assert.deepEqual(knownKeys(agentSchema).filter((key) => !keys.has(key)), []);
  const [, nodes] = /^(\[\[nodes\]\][^]*?)^# How the nodes reach/m.exec(example)!;
  const { config } = parseAgentConfig(example, "/c.toml");
  assert.deepEqual(config, parseAgentConfig(nodes, "/c.toml").config);
});

Deno.test("modules/generic.toml is a right module, as it is and with everything on", () => {
  for (const text of [generic, allOn(generic)]) {
    const { module, findings } = parseModule(text, "/m/generic.toml", "toml", agentConfig());
    assert.ok(module, show(findings));
    assert.deepEqual(findings, []);
  }
});

Deno.test("modules/generic.toml has every key, and shows the defaults", () => {
  const keys = new Set(keysOf(parse(allOn(generic))));
  assert.deepEqual(knownKeys(moduleSchema).filter((key) => !keys.has(key)), []);
  const agent = agentConfig();
  const shown = parseModule(generic, "/m.toml", "toml", agent).module!;
  const least = `name = "generic"\n[[mirror.directories]]\npath = "/srv/generic/main"\n` +
    'exclude = ["*.pid", "tmp/**"]';
  assert.deepEqual(shown, parseModule(least, "/m.toml", "toml", agent).module);
  const defaults = parseModule(allOn(generic), "/m.toml", "toml", agent).module!;
  assert.equal(defaults.application.start_timeout, shown.application.start_timeout);
  assert.equal(defaults.checks[0].timeout, 1000);
});

Deno.test("the JSON Schemas name every key with a description and refuse others", () => {
  const walk = (schema: any, path: string): string[] => {
    const keys = Object.entries<any>(schema.properties ?? {}).flatMap(([key, child]) => {
      const at = path === "" ? key : `${path}.${key}`;
      assert.ok(child.description, `${at} has no description`);
      return [at, ...walk(child, at)];
    });
    if (schema.properties) assert.equal(schema.additionalProperties, false, path);
    return schema.items ? walk(schema.items, `${path}[]`) : keys;
  };
  assert.deepEqual(walk(agentJsonSchema(), ""), knownKeys(agentSchema));
  assert.deepEqual(walk(moduleJsonSchema(), ""), knownKeys(moduleSchema));
  const { heartbeat } = agentJsonSchema().properties as any;
  assert.equal(heartbeat.properties.interval.default, "200ms");
  assert.deepEqual(agentJsonSchema().required, ["nodes"]);
  assert.deepEqual(moduleJsonSchema().required, ["name", "mirror"]);
});

Deno.test("the texts the tests start from use every table", () => {
  for (const [schema, text] of [[agentSchema, AGENT_TEXT], [moduleSchema, MODULE_TEXT]] as const) {
    const keys = new Set(Object.keys(parse(text)));
    assert.deepEqual(Object.keys(schema.shape).filter((key) => !keys.has(key)), []);
  }
});
