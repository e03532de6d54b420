/**
 * The demo: a shop takes orders on the primary, the primary's host is killed in the middle of it, and
 * the secondary is shown to hold every order that was acknowledged; then the shop goes on there.
 * The hosts are those of the tests' lab.
 */
import { createLab, type Host, type Lab } from "../tests/lab/lab.ts";
import { pause, waitFor } from "../tests/lib/wait.ts";
import { type Acknowledged, type Found, ordersPerReceipt } from "./demonstration/shop.ts";

/** the whole demo, in milliseconds; the build and installations come before it */
const limit = 180_000;
const module = "shop";
const folder = "/srv/shop";
/** orders that the shop has already when Understudy comes */
const before = 1000;
/** orders taken under the mirror before the host is killed, at least */
const enough = 500;
/** how long the shop works in sync at least, in milliseconds */
const atLeast = 5_000;

const program = decodeURIComponent(
  new URL("demonstration/application.ts", import.meta.url).pathname,
);
const started = performance.now();

function tell(text: string) {
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  console.log(`${seconds} s  ${text}`);
}

function application(...args: string[]): string[] {
  return [Deno.execPath(), "run", "--allow-all", "--no-config", "--no-lock", program, ...args];
}

/** What the shop has told its customers so far. A line that is not whole was not said. */
async function acknowledged(log: string): Promise<Acknowledged> {
  const said: Acknowledged = { lastOrder: before, receipts: new Set() };
  for (let id = ordersPerReceipt; id <= before; id += ordersPerReceipt) said.receipts.add(id);
  const text = await Deno.readTextFile(log);
  for (const line of text.slice(0, text.lastIndexOf("\n") + 1).split("\n")) {
    const [, what, id] = /^(order|receipt) (\d+)$/.exec(line) ?? [];
    if (what === "order") said.lastOrder = Number(id);
    if (what === "receipt") said.receipts.add(Number(id));
  }
  return said;
}

/** Checks the shop in a directory of a host, as the programs of that host see it. */
async function check(host: Host, where: string, said: Acknowledged): Promise<Found> {
  const stdin = JSON.stringify({ lastOrder: said.lastOrder, receipts: [...said.receipts] });
  const { stdout } = await host.run(application("check", where), { stdin });
  const found: Found = JSON.parse(stdout);
  if (found.faults.length > 0) throw new Error(`Not whole:\n  ${found.faults.join("\n  ")}`);
  return found;
}

async function showStatus(host: Host) {
  const { stdout } = await host.tryCli("status");
  for (const line of stdout.trimEnd().split("\n")) console.log(`         | ${line}`);
}

async function story(lab: Lab) {
  const { alpha, beta } = lab;
  tell(`two hosts, alpha (${alpha.addresses.join(", ")}) and beta (${beta.addresses.join(", ")})`);
  await alpha.run(["mkdir", "-p", folder]);
  await beta.run(["mkdir", "-p", folder]);
  await alpha.run(application("work", folder, String(before)));
  tell(`alpha has a shop in ${folder}: ${before} orders in SQLite, and receipts; beta has nothing`);

  await lab.writeConfig({ modules: [{ name: module, directories: [folder], sync: "write" }] });
  await Promise.all([alpha.startAgent(), beta.startAgent()]);
  const waiting = await waitFor("alpha to wait for a word", async () => {
    const status = await alpha.status(module);
    return status.state === "WAIT" && status.reason.includes("prim") && status;
  });
  tell(`an agent runs on each; both wait: ${waiting.reason}`);

  await alpha.cli("prim", module);
  await waitFor("alpha to serve", async () => {
    const { state } = await alpha.status(module);
    return state === "ALONE" || state === "PRIM";
  });
  tell("`understudy prim shop` on alpha: its data is the good one; the shop opens at once");
  const log = `${lab.directory}/orders.log`;
  const shop = await alpha.spawn(application("work", folder), { log });
  let open = true;
  shop.status.then(() => open = false);
  await alpha.waitState(module, "PRIM", { timeout: 60_000 });
  await beta.waitState(module, "SECOND", { timeout: 10_000 });
  const inSync = await acknowledged(log);
  tell(
    "beta is in sync, copied while the shop was open; from here each order waits for both hosts",
  );

  const since = performance.now();
  const at = await waitFor("the shop to take orders", async () => {
    const { lastOrder } = await acknowledged(log);
    const ms = performance.now() - since;
    const done = lastOrder >= inSync.lastOrder + enough && ms >= atLeast;
    return (done || !open) && { lastOrder, ms };
  }, { timeout: 60_000, interval: 50 });
  if (!open) throw new Error(`The shop has closed: ${(await Deno.readTextFile(log)).slice(-500)}`);
  const rate = Math.round((at.lastOrder - inSync.lastOrder) / (at.ms / 1000));
  tell(`${at.lastOrder} orders, about ${rate} a second, every one synced on both hosts`);
  await showStatus(alpha);

  await alpha.kill();
  await shop.status;
  const said = await acknowledged(log);
  tell(
    `alpha is gone, in the middle of it. Its customers were told of ${said.lastOrder} orders and ${said.receipts.size} receipts`,
  );

  // An SQLite database whose writer died may have a journal to roll back: in a copy, for beta's is read-only.
  await beta.run(["cp", "-a", folder, "/srv/copy"]);
  const copy = await check(beta, "/srv/copy", said);
  tell(
    `beta's copy is whole: ${copy.orders} orders, ${copy.receipts} receipts; none that was told is missing`,
  );

  await waitFor("beta to miss alpha", async () => {
    return (await beta.status(module)).state === "WAIT";
  });
  tell("beta has missed alpha's heartbeats, and waits for a word");
  await beta.cli("prim", module);
  await beta.waitState(module, "ALONE");
  await beta.run(application("work", folder, "50"));
  const after = await check(beta, folder, { ...said, lastOrder: copy.orders + 50 });
  tell(
    `\`understudy prim shop\` on beta: the shop goes on there, now with ${after.orders} orders`,
  );
  await showStatus(beta);
}

async function main(): Promise<number> {
  console.log("Understudy: a shop whose server dies\n");
  const making = createLab();
  let ended = false;
  const end = async (code: number, why: string) => {
    if (ended) return;
    ended = true;
    console.log(`\n${why}: clearing up`);
    await making.then((lab) => lab.close()).catch((error) => console.error(error));
    Deno.exit(code);
  };
  Deno.addSignalListener("SIGINT", () => end(130, "interrupted"));
  Deno.addSignalListener("SIGTERM", () => end(143, "ended"));
  Deno.addSignalListener("SIGHUP", () => end(129, "hung up"));
  const timer = setTimeout(() => end(1, `not finished after ${limit / 1000} s`), limit);
  const lab = await making;
  let code = 0;
  try {
    await story(lab);
  } catch (error) {
    await pause(100); // Ctrl-C ends what runs on the hosts too, and may be seen there first
    if (ended) return await new Promise(() => {}); // interrupted: the other path ends the process
    code = 1;
    const cause = error instanceof Error && error.cause ? `\n  ${error.cause}` : "";
    console.error(`\nThe demo failed: ${error instanceof Error ? error.message : error}${cause}\n`);
    console.error(await lab.logTails(30));
  }
  clearTimeout(timer);
  if (ended) return await new Promise(() => {});
  ended = true;
  await lab.close();
  if (code === 0) tell("the hosts are gone, nothing is left behind");
  return code;
}

if (import.meta.main) Deno.exit(await main());
