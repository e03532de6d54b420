import assert from "node:assert/strict";
import { waitFor } from "../../tests/lib/wait.ts";
import type { FakeFacade } from "../http/testing.ts";
import { withSite } from "./testing.ts";

function happen(facade: FakeFacade) {
  facade.add("the agent starts");
  facade.add("shop starts", "shop");
  facade.add("the secondary\u001b[2J is gone", "shop", "warning");
  facade.add("mail fails", "mail", "error");
}

Deno.test("events are lines with time, level and module, oldest first", async () => {
  await withSite(undefined, async ({ run, facade }) => {
    assert.deepEqual(await run(["events"]), { code: 0, out: "", err: "" });
    happen(facade);
    assert.deepEqual((await run(["events"])).out.split("\n"), [
      "2026-01-02T03:04:01.000Z info    the agent starts",
      "2026-01-02T03:04:02.000Z info    [shop] shop starts",
      "2026-01-02T03:04:03.000Z warning [shop] the secondary\\u001b[2J is gone",
      "2026-01-02T03:04:04.000Z error   [mail] mail fails",
      "",
    ]);
    assert.ok((await run(["events"], { color: true })).out.includes("\u001b[31merror  "));
    assert.match((await run(["events", "mail"])).out, /^\S+ error {3}\[mail\] mail fails\n$/);
    assert.match((await run(["events", "--last", "1"])).out, /^\S+ error .*\n$/);
    assert.equal((await run(["events", "--last", "0"])).out, "");
  });
});

Deno.test("events --json are the agent's", async () => {
  await withSite(undefined, async ({ run, facade, url }) => {
    happen(facade);
    const said = await (await fetch(`${url}/events`)).json();
    assert.deepEqual(JSON.parse((await run(["events", "--json"])).out), said);
  });
});

Deno.test("events --follow goes on with each new one, over a restart of the agent", async () => {
  await withSite(undefined, async ({ run, facade, stopAgent, startAgent }) => {
    happen(facade);
    const end = new AbortController();
    const restart = async () => {
      await stopAgent();
      facade.entries = [];
      facade.add("shop is back", "shop");
      startAgent();
    };
    const steps: Record<number, () => unknown> = {
      2() {
        facade.add("shop goes on", "shop");
        facade.add("of another", "mail");
      },
      3: restart,
      4: () => end.abort(),
    };
    let lines = 0;
    const { code, out } = await run(["events", "shop", "--follow", "--json"], {
      signal: end.signal,
      onOut(all) {
        const now = all.split("\n").length - 1;
        while (lines < now) steps[++lines]?.();
      },
    });
    assert.equal(code, 0);
    const texts = out.trimEnd().split("\n").map((line) => JSON.parse(line).text);
    assert.deepEqual(texts.slice(0, 2), ["shop starts", "the secondary\u001b[2J is gone"]);
    assert.deepEqual(texts.slice(2), ["shop goes on", "shop is back"]);
    await waitFor("the agent to see that nobody listens", () => facade.listeners === 0);
  });
});
