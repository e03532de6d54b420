import assert from "node:assert/strict";
import { Errno, O } from "./constants.ts";
import {
  explainHandles,
  filesystemName,
  handleHeader,
  maxHandleBytes,
  nameToHandle,
  openHandle,
  supportsHandles,
} from "./handles.ts";
import { allocate, cstring, openLibc, withStrings } from "./libc.ts";
import { unmount } from "./mounts.ts";
import { rootTest } from "./testing.ts";

const libc = openLibc();

function openDirectory(path: string): number {
  const flags = O.RDONLY | O.DIRECTORY | O.CLOEXEC;
  const fd = withStrings([path], ([address]) => libc.sys.open(address, flags, 0));
  assert.ok(fd >= 0, path);
  return fd;
}

async function withDirectory(test: (path: string, fd: number) => void) {
  const directory = await Deno.makeTempDir({ prefix: "understudy-handles-" });
  const fd = openDirectory(directory);
  try {
    test(directory, fd);
  } finally {
    libc.sys.close(fd);
    await Deno.remove(directory, { recursive: true });
  }
}

rootTest(
  "handles: a handle finds the file after a rename, and not after its removal",
  {},
  () =>
    withDirectory((directory, fd) => {
      Deno.writeTextFileSync(`${directory}/file`, "content");
      const name = allocate(128);
      const handle = allocate(handleHeader + maxHandleBytes);
      const made = nameToHandle(
        libc,
        fd,
        cstring(name, "file"),
        handle.view,
        handle.address,
        name.address + 64,
        maxHandleBytes,
        0,
      );
      assert.equal(made, 0);
      Deno.renameSync(`${directory}/file`, `${directory}/other`);
      const opened = openHandle(libc, fd, handle.address, O.RDONLY);
      assert.ok(opened >= 0);
      assert.equal(libc.sys.read(opened, name.address, 7), 7);
      assert.equal(new TextDecoder().decode(name.bytes.subarray(0, 7)), "content");
      libc.sys.close(opened);
      Deno.removeSync(`${directory}/other`);
      assert.equal(openHandle(libc, fd, handle.address, O.RDONLY), -Errno.ESTALE);
    }),
);

rootTest(
  "handles: a local file system supports them, within the capacity that is given",
  {},
  () =>
    withDirectory((_, fd) => {
      const support = supportsHandles(libc, fd);
      assert.ok(support.supported, JSON.stringify(support));
      assert.ok(support.bytes >= 8 && support.bytes <= maxHandleBytes);
      const narrow = supportsHandles(libc, fd, 4);
      assert.ok(!narrow.supported);
      assert.match(narrow.reason, /longer than supported/);
    }),
);

rootTest(
  "handles: overlayfs is refused by name",
  { programs: ["mount"] },
  () =>
    withDirectory((directory) => {
      const type = withStrings(["tmpfs", directory], ([t, d]) => libc.sys.mount(t, d, t, 0, 0));
      assert.equal(type, 0);
      try {
        for (const name of ["lower", "upper", "work", "merged"]) {
          Deno.mkdirSync(`${directory}/${name}`);
        }
        const options = ["lowerdir=lower", "upperdir=upper", "workdir=work"]
          .map((option) => option.replace("=", `=${directory}/`)).join(",");
        const mounted = withStrings(
          ["overlay", `${directory}/merged`, options],
          ([t, d, o]) => libc.sys.mount(t, d, t, 0, o),
        );
        assert.equal(mounted, 0, `errno ${libc.errno()}`);
        const fd = openDirectory(`${directory}/merged`);
        assert.equal(filesystemName(libc, fd), "overlayfs");
        const support = supportsHandles(libc, fd);
        libc.sys.close(fd);
        unmount(libc, `${directory}/merged`, { lazy: true });
        assert.ok(!support.supported);
        assert.match(support.reason, /^The directory lies on overlayfs/);
      } finally {
        unmount(libc, directory, { lazy: true });
      }
    }),
);

rootTest("handles: a file system without them is refused", {}, () => {
  const fd = openDirectory("/proc");
  const support = supportsHandles(libc, fd);
  libc.sys.close(fd);
  assert.ok(!support.supported);
  assert.match(support.reason, /\(proc\) has no file handles|does not open/);
});

Deno.test("handles: every reason ends in something to do", () => {
  for (const cause of [Errno.EPERM, Errno.ENOSYS, Errno.EOPNOTSUPP, Errno.EOVERFLOW]) {
    for (const filesystem of ["overlayfs", "NFS", "ext4", "type 0x1"]) {
      const reason = explainHandles(cause, filesystem, false);
      assert.match(
        reason,
        /(Mirror a directory on a local file system|Run (it|the agent) as root)/,
      );
    }
  }
  assert.match(explainHandles(Errno.EOPNOTSUPP, "NFS", false), /lies on NFS, a network/);
});
