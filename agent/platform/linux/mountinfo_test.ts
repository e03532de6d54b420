import assert from "node:assert/strict";
import {
  aliases,
  isWithin,
  locate,
  mountAt,
  mountsBelow,
  parseMountinfo,
  unescapeOctal,
} from "./mountinfo.ts";

const text = String.raw`21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /proc rw,nosuid - proc proc rw
30 21 8:16 / /srv rw,noatime shared:4 master:7 - ext4 /dev/sdb rw,errors=continue
31 30 8:17 / /srv/da\040ta\134x rw - xfs /dev/sdc rw
32 30 8:16 /inner /srv/bind rw - ext4 /dev/sdb rw
40 30 0:55 / /srv/app rw,noatime - fuse.understudy understudy:pg rw,user_id=0
41 40 0:56 / /srv/app rw - fuse.understudy understudy:pg\0432 rw
42 31 0:57 / /srv/da\040ta\134x/deep rw - tmpfs tmpfs rw
`;
const entries = parseMountinfo(text);
const at = (path: string) => mountAt(entries, path)?.id;

Deno.test("mountinfo: fields and octal escapes are read", () => {
  assert.equal(entries.length, 8);
  assert.deepEqual(entries[2], {
    id: 30,
    parent: 21,
    major: 8,
    minor: 16,
    root: "/",
    mountPoint: "/srv",
    options: ["rw", "noatime"],
    propagation: ["shared:4", "master:7"],
    type: "ext4",
    source: "/dev/sdb",
    superOptions: ["rw", "errors=continue"],
  });
  assert.equal(entries[3].mountPoint, "/srv/da ta\\x");
  assert.equal(entries[6].source, "understudy:pg#2");
});

Deno.test("mountinfo: escapes of several bytes form one character, others stay as they are", () => {
  assert.equal(unescapeOctal(String.raw`a\303\244b`), "aäb");
  assert.equal(unescapeOctal(String.raw`\9\04\777x`), String.raw`\9\04\777x`);
  assert.equal(unescapeOctal("ä\\040ö"), "ä ö");
});

Deno.test("mountinfo: broken lines are left out", () => {
  assert.deepEqual(parseMountinfo("\ngarbage\n1 2 3\n21 1 8:1 / / rw - ext4\n"), []);
});

Deno.test("mountinfo: a path leads to the topmost mount on its way", () => {
  assert.equal(at("/"), 21);
  assert.equal(at("/etc/passwd"), 21);
  assert.equal(at("/srv"), 30);
  assert.equal(at("/srv/application"), 30);
  assert.equal(at("/srv/app"), 41);
  assert.equal(at("/srv/app/x"), 41);
  assert.equal(at("/srv/da ta\\x/file"), 31);
  assert.equal(at("/srv/da ta\\x/deep/file"), 42);
});

Deno.test("mountinfo: a mount over a parent directory hides what was mounted below before", () => {
  const covered = [
    ...entries,
    ...parseMountinfo("50 30 0:60 / /srv rw - tmpfs tmpfs rw\n"),
  ];
  assert.equal(mountAt(covered, "/srv/app")?.id, 50);
  assert.deepEqual(mountsBelow(covered, "/srv"), []);
});

Deno.test("mountinfo: a namespace without a mount at / still finds its mounts", () => {
  const chroot = parseMountinfo("9 5 8:1 /x /data rw - ext4 /dev/sda1 rw\n");
  assert.equal(mountAt(chroot, "/data/a")?.id, 9);
  assert.equal(mountAt(chroot, "/etc"), undefined);
});

Deno.test("mountinfo: mounts below a directory are those that can be reached there", () => {
  assert.deepEqual(mountsBelow(entries, "/srv").map((entry) => entry.id), [31, 32, 41, 42]);
  assert.deepEqual(mountsBelow(entries, "/srv/app"), []);
});

Deno.test("mountinfo: a directory is found under every name it has", () => {
  assert.deepEqual(locate(entries, "/srv/bind/x"), { major: 8, minor: 16, path: "/inner/x" });
  const target = locate(entries, "/srv/inner/x")!;
  assert.deepEqual(target, { major: 8, minor: 16, path: "/inner/x" });
  assert.deepEqual(aliases(entries, target).sort(), ["/srv/bind/x", "/srv/inner/x"]);
  // the bind mount shows a part of it
  assert.deepEqual(aliases(entries, { major: 8, minor: 16, path: "/" }).sort(), [
    "/srv",
    "/srv/bind",
  ]);
  // the backing directory of a mount over itself cannot be reached
  assert.deepEqual(aliases(entries, { major: 8, minor: 16, path: "/app" }), []);
});

Deno.test("mountinfo: within means at or below, by whole names", () => {
  assert.ok(isWithin("/a/b", "/a") && isWithin("/a", "/a") && isWithin("/a", "/"));
  assert.ok(!isWithin("/ab", "/a") && !isWithin("/", "/a"));
});
