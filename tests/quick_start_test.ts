/** The README's quick start, done on two hosts as it is written there. */
import assert from "node:assert/strict";
import { labTest } from "./lab/lab.ts";
import { configDirectory } from "./lab/config.ts";
import { binary, repository } from "./lib/paths.ts";

/** The code blocks of one language in the README's quick start. */
async function blocks(language: string): Promise<string[]> {
  const readme = await Deno.readTextFile(`${repository}/README.md`);
  const part = readme.split("\n## ").find((each) => each.startsWith("Quick start"));
  assert.ok(part, "the README has a quick start");
  const found = part.matchAll(new RegExp(`^ *\`\`\`${language}\n(.*?)^ *\`\`\``, "gms"));
  return [...found].map(([, text]) => text.replace(/^ {3}/gm, ""));
}

labTest("the README's quick start leads to two servers in sync", {}, async ({ alpha, beta }) => {
  const commands = (await blocks("sh")).join("");
  const command = (start: string) => {
    const line = commands.split("\n").find((each) => each.startsWith(`understudy ${start}`));
    assert.ok(line, `the quick start has \`understudy ${start}\``);
    return line.split(" ").slice(1);
  };
  const [module] = await blocks("toml");

  await alpha.run([binary, ...command("init")]);
  await Deno.writeTextFile(`${alpha.path(configDirectory)}/modules/shop.toml`, module);
  await alpha.run("mkdir -p /srv/shop && echo tea >/srv/shop/stock");
  await alpha.run([binary, "--node", "alpha", ...command("check-config")]);
  await beta.run("mkdir -p /srv/shop");
  const copy = ["cp", "-a", `${alpha.path(configDirectory)}/.`, beta.path(configDirectory)];
  assert.ok((await new Deno.Command(copy[0], { args: copy.slice(1) }).output()).success);

  await Promise.all([alpha.startAgent(), beta.startAgent()]);
  await alpha.cli(...command("prim"));
  await alpha.cli(...command("wait"));
  const { stdout } = await alpha.cli(...command("status"));
  assert.match(stdout, /shop +PRIM/);
  await alpha.run("echo coffee >>/srv/shop/stock; echo 1 >/srv/shop/shop.pid");
  assert.equal((await beta.run("cat /srv/shop/stock")).stdout, "tea\ncoffee\n");
  assert.equal((await beta.run("ls /srv/shop")).stdout, "stock\n", "what is excluded stays away");

  // "When alpha is lost": the same word on beta
  await alpha.kill();
  await beta.waitState("shop", "WAIT", { ready: false });
  await beta.cli(...command("prim"));
  await beta.waitState("shop", "ALONE");
  await beta.run("echo milk >>/srv/shop/stock");
  assert.equal((await beta.run("cat /srv/shop/stock")).stdout, "tea\ncoffee\nmilk\n");
});
