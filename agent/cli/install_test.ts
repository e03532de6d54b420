import assert from "node:assert/strict";
import { withTempDir } from "../../tests/lib/temp.ts";
import { missing } from "../../tests/lib/requires.ts";
import { run } from "./testing.ts";
import { unit } from "./unit.ts";

Deno.test("the unit restarts, watches, and leaves applications and mounts alone", () => {
  const text = unit({
    program: "/usr/local/bin/understudy",
    config: "/etc/understudy/config.toml",
  });
  const settings = text.split("\n").filter((line) => /^\w+=/.test(line));
  for (
    const wanted of [
      "Type=notify",
      "ExecStart=/usr/local/bin/understudy agent --config /etc/understudy/config.toml",
      "Restart=always",
      "StartLimitIntervalSec=0",
      "WatchdogSec=30",
      "KillMode=process",
      "OOMPolicy=continue",
      "LimitNOFILE=1048576",
      "WantedBy=multi-user.target",
    ]
  ) assert.ok(settings.includes(wanted), wanted);
  // systemd.exec(5): what makes a mount namespace, or filters what applications inherit
  const never =
    /^(Private\w+|Protect\w+|Read(Only|Write)Paths|InaccessiblePaths|ExecPaths|NoExecPaths|TemporaryFileSystem|Bind\w*Paths|MountFlags|MountAPIVFS|RootDirectory|RootImage|DynamicUser|MemoryDenyWriteExecute|SystemCall\w+|NoNewPrivileges|UMask|RestrictSUIDSGID|RestrictNamespaces|LogNamespace|DevicePolicy|DeviceAllow|LoadCredential\w*)=/;
  assert.deepEqual(settings.filter((line) => never.test(line)), []);
  // the mirror needs these
  const dropped = settings.filter((line) => line.startsWith("CapabilityBoundingSet=~")).join(" ");
  for (const needed of ["SYS_ADMIN", "DAC", "CHOWN", "FOWNER", "SETFCAP", "MKNOD", "MAC_ADMIN"]) {
    assert.ok(!dropped.includes(`CAP_${needed}`), needed);
  }
});

Deno.test("words of the unit's command are quoted for systemd", () => {
  const text = unit({ program: "/opt/under study", config: '/etc/50%/$a"b', node: "alpha" });
  assert.ok(
    text.includes(
      'ExecStart="/opt/under study" agent --config "/etc/50%%/$$a\\"b" --node alpha\n',
    ),
    text,
  );
});

Deno.test("install writes the unit once, and --print writes nothing", async () => {
  await withTempDir(async (directory) => {
    const args = ["install", "--config", "/etc/x.toml", "--directory", `${directory}/units`];
    const printed = await run([...args, "--print"], { env: { UNDERSTUDY_NODE: "beta" } });
    assert.equal(printed.code, 0);
    assert.match(printed.out, /^ExecStart=.* agent --config \/etc\/x\.toml --node beta$/m);
    assert.deepEqual([...Deno.readDirSync(directory)], []);
    const first = await run(args);
    assert.deepEqual([first.code, first.err], [0, ""]);
    const file = `${directory}/units/understudy.service`;
    assert.ok(first.out.startsWith(`wrote ${file}\n`), first.out);
    assert.match(await Deno.readTextFile(file), /^Type=notify$/m);
    assert.ok((await run(args)).out.startsWith(`${file} is up to date\n`));
    assert.deepEqual([...Deno.readDirSync(`${directory}/units`)].length, 1);
  });
});

const noVerifier = missing("command:systemd-analyze");
Deno.test({
  name: `systemd finds nothing wrong in the unit${noVerifier ? ` (ignored: ${noVerifier})` : ""}`,
  ignore: noVerifier !== undefined,
  async fn() {
    await withTempDir(async (directory) => {
      const file = `${directory}/understudy.service`;
      await Deno.writeTextFile(file, unit({ program: "/bin/true", config: "/etc/x.toml" }));
      const { success, stderr } = await new Deno.Command("systemd-analyze", {
        args: ["verify", file],
      }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
      assert.ok(!new TextDecoder().decode(stderr).includes(file));
    });
  },
});
