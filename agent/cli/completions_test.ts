import assert from "node:assert/strict";
import { missing } from "../../tests/lib/requires.ts";
import { withTempDir } from "../../tests/lib/temp.ts";
import { run } from "./testing.ts";

async function shell(program: string, args: string[], input: string) {
  const child = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { success, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

for (const name of ["bash", "zsh", "fish"]) {
  const reason = missing(`command:${name}`);
  Deno.test({
    name: `the completions for ${name} parse${reason ? ` (ignored: ${reason})` : ""}`,
    ignore: reason !== undefined,
    async fn() {
      const { code, out } = await run(["completions", name]);
      assert.equal(code, 0);
      const { success, stderr } = await shell(name, ["-n"], out);
      assert.deepEqual([success, stderr], [true, ""]);
    },
  });
}

Deno.test("the completions for every shell name every command and option", async () => {
  for (const name of ["bash", "zsh", "fish"]) {
    const { out } = await run(["completions", name]);
    for (const word of ["status", "check-config", "completions", "watch", "force", "url", "PRIM"]) {
      assert.ok(out.includes(word), `${name}: ${word}`);
    }
  }
});

const noBash = missing("command:bash");
Deno.test({
  name: `bash completes commands, options, states and modules${
    noBash ? ` (ignored: ${noBash})` : ""
  }`,
  ignore: noBash !== undefined,
  async fn() {
    const { out: script } = await run(["completions", "bash"]);
    await withTempDir(async (directory) => {
      // stands for the program where the completion asks it for the modules
      const fake = `${directory}/understudy`;
      await Deno.writeTextFile(fake, "#!/bin/sh\necho 'shop PRIM ready'\necho 'mail STOP'\n");
      await Deno.chmod(fake, 0o755);
      const complete = async (line: string) => {
        const words = line.split(" ").map((word) => `'${word}'`).join(" ");
        const { stdout, stderr } = await shell(
          "bash",
          ["--norc"],
          `PATH="${directory}:$PATH"\n${script}\nCOMP_WORDS=(${words})\n` +
            "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_understudy\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n",
        );
        assert.equal(stderr, "", line);
        return stdout.trimEnd().split("\n");
      };
      assert.deepEqual(await complete("understudy st"), ["status", "start", "stop"]);
      assert.deepEqual(await complete("understudy --config x chec"), ["check-config"]);
      assert.deepEqual(await complete("understudy status "), [
        "shop",
        "mail",
        "--json",
        "--watch",
        "--help",
      ]);
      assert.deepEqual(await complete("understudy stop m"), ["mail"]);
      assert.deepEqual(await complete("understudy wait shop --state P"), ["PRIM"]);
      assert.deepEqual(await complete("understudy module n"), ["new"]);
      assert.deepEqual(await complete("understudy module new x --f"), ["--from"]);
      assert.deepEqual(await complete("understudy completions z"), ["zsh"]);
    });
  },
});
