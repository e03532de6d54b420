import assert from "node:assert/strict";
import fc from "fast-check";
import { absolutePath, duration, formatDuration, interfaceName, oneOf } from "./values.ts";

Deno.test("a duration is read in milliseconds and written in its largest whole unit", () => {
  const any = duration(0, 1e12);
  for (
    const [text, ms] of [["200ms", 200], ["2s", 2000], ["1m", 60_000], ["24h", 86_400_000]] as const
  ) {
    assert.deepEqual(any.read(text), { value: ms });
    assert.equal(formatDuration(ms), text);
  }
  assert.equal(formatDuration(0), "0ms");
  fc.assert(fc.property(fc.nat(1e9), (ms) => {
    assert.deepEqual(any.read(formatDuration(ms)), { value: ms });
  }));
});

Deno.test("both limits of a duration are allowed", () => {
  const kind = duration(10, 1000);
  assert.deepEqual([kind.read("10ms"), kind.read("1s")], [{ value: 10 }, { value: 1000 }]);
  assert.ok("hint" in kind.read("9ms") && "hint" in kind.read("1001ms"));
});

Deno.test("durations written in other ways are answered with the right way", () => {
  const hint = (text: unknown) => {
    const read = duration(1, 1e12).read(text);
    return "hint" in read ? read.hint : "accepted";
  };
  assert.match(hint("1h 30m")!, /write "90m"/);
  assert.match(hint("1d")!, /write "24h"/);
  assert.match(hint("0.5s")!, /write "500ms"/);
  assert.match(hint("10 minutes")!, /write "10m"/);
  assert.match(hint("5 apples")!, /not a unit/);
  assert.match(hint(30)!, /"30s" or "30ms"/);
  assert.equal(hint("fast"), undefined);
  assert.equal(hint(1.5), undefined);
});

Deno.test("a final slash of a path is dropped, everything else must be normal already", () => {
  assert.deepEqual(absolutePath.read("/srv/x/"), { value: "/srv/x" });
  assert.deepEqual(absolutePath.read("/"), { value: "/" });
  for (const text of ["/srv//x", "/srv/../x", "/./x", "x", "", "/" + "x/".repeat(2100)]) {
    assert.ok("hint" in absolutePath.read(text), text);
  }
});

Deno.test("booleans where words are expected are answered with the word", () => {
  assert.deepEqual(oneOf(["on", "off"]).read(false), { hint: 'did you mean "off"?' });
  assert.deepEqual(oneOf(["auto", "manual"]).read(true), { hint: 'did you mean "auto"?' });
  assert.deepEqual(oneOf(["a"]).read(true), { hint: undefined });
});

Deno.test("interface names are those the kernel takes", () => {
  for (const name of ["eth0", "br-lan.5", "enp0s31f6", "vlan@5"]) {
    assert.deepEqual(interfaceName.read(name), { value: name });
  }
  for (const name of ["", ".", "..", "a/b", "a b", "eth0:1", "x".repeat(16)]) {
    assert.ok("hint" in interfaceName.read(name), name);
  }
});
