import assert from "node:assert/strict";
import { decodeView, encodeView, maxViewBytes, type ModuleView } from "./view.ts";

const instance = "0123456789abcdef0123456789abcdef";
const module: ModuleView = {
  name: "postgresql",
  state: "PRIM",
  ready: true,
  sync: "synced",
  generation: 7,
  id: "a1b2",
  digest: "d".repeat(64),
  appliedSeq: 123456789,
  outdated: false,
};
const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

Deno.test("a view arrives as it was sent", () => {
  const view = { node: "alpha", instance, modules: [module, { ...module, name: "redis" }] };
  const bytes = encodeView(view);
  assert(typeof bytes !== "string");
  assert.deepEqual(decodeView(bytes), view);
});

Deno.test("a view that does not fit is refused with its size", () => {
  const modules = Array.from({ length: 60 }, (_, i) => ({ ...module, name: `module${i}` }));
  const text = encodeView({ node: "alpha", instance, modules });
  assert(typeof text === "string");
  assert.match(text, /takes \d+ bytes, and heartbeats carry at most 8192/);
});

Deno.test("a malformed view of our own is named by its field", () => {
  const text = encodeView({ node: "alpha", instance, modules: [{ ...module, generation: -1 }] });
  assert.match(text as string, /modules\.0\.generation/);
});

Deno.test("what is no view is not believed", () => {
  const wrong: [string, Uint8Array][] = [
    ["nothing", new Uint8Array(0)],
    ["no JSON", new TextEncoder().encode("{")],
    ["no UTF-8", Uint8Array.of(0x22, 0xff, 0x22)],
    ["another type", bytesOf([1, 2, 3])],
    ["a missing field", bytesOf({ node: "alpha", modules: [] })],
    ["an unknown state", bytesOf({ node: "a", instance, modules: [{ ...module, state: "BEST" }] })],
    ["a fraction", bytesOf({ node: "a", instance, modules: [{ ...module, generation: 1.5 }] })],
    [
      "a huge number",
      bytesOf({ node: "a", instance, modules: [{ ...module, appliedSeq: 1e300 }] }),
    ],
    ["a long name", bytesOf({ node: "a".repeat(65), instance, modules: [] })],
    ["an unknown field", bytesOf({ node: "a", instance, modules: [], more: 1 })],
    ["a bad instance", bytesOf({ node: "a", instance: "xyz", modules: [] })],
    ["too many modules", bytesOf({ node: "a", instance, modules: Array(65).fill({}) })],
    ["deep nesting", new TextEncoder().encode("[".repeat(maxViewBytes))],
    ["too long", new Uint8Array(maxViewBytes + 1).fill(0x20)],
  ];
  for (const [what, bytes] of wrong) assert.equal(decodeView(bytes), undefined, what);
});
