import assert from "node:assert/strict";
import { Errno, O } from "./constants.ts";
import { SystemError } from "./errno.ts";
import { allocate, openLibc, withStrings } from "./libc.ts";
import {
  abortConnection,
  clearDeadMounts,
  findOurMounts,
  mountFuse,
  mountState,
  mountVisibleTo,
  readMounts,
  slaveNamespaceProblem,
  unmount,
} from "./mounts.ts";
import { mountAt } from "./mountinfo.ts";
import { rootTest } from "./testing.ts";

const libc = openLibc();
const fuse = { paths: ["/dev/fuse"] };

function openFuse(): number {
  const fd = withStrings(
    ["/dev/fuse"],
    ([path]) => libc.sys.open(path, O.RDWR | O.CLOEXEC | O.NONBLOCK, 0),
  );
  assert.ok(fd >= 0);
  return fd;
}

/** Runs `test` with a directory of its own and takes away whatever is mounted there afterwards. */
async function withDirectory(test: (directory: string, source: string) => Promise<void> | void) {
  const directory = await Deno.realPath(await Deno.makeTempDir({ prefix: "understudy-mounts-" }));
  try {
    await test(directory, `understudy:test-${directory.slice(-8)}`);
  } finally {
    for (const entry of readMounts().filter((e) => e.mountPoint.startsWith(directory)).reverse()) {
      if (entry.type.startsWith("fuse")) abortConnection(libc, entry.minor);
      unmount(libc, entry.mountPoint, { lazy: true });
    }
    await Deno.remove(directory, { recursive: true });
  }
}

/** Answers INIT and GETATTR of the root on a FUSE descriptor until stopped (linux/fuse.h). */
function serve(fd: number): { stop(): Promise<void> } {
  const request = allocate(1 << 17);
  const reply = allocate(256);
  let running = true;
  const loop = async () => {
    while (running) {
      const length = libc.sys.read(fd, request.address, 1 << 17);
      if (length <= 0) {
        await new Promise((next) => setTimeout(next, 2));
        continue;
      }
      const opcode = request.view.getUint32(4, true);
      reply.bytes.fill(0);
      const { view } = reply;
      let size = 16;
      if (opcode === 26) { // INIT
        view.setUint32(16, 7, true);
        view.setUint32(20, 31, true);
        view.setUint32(36, 65536, true); // max_write
        size += 64;
      } else if (opcode === 3) { // GETATTR
        view.setBigUint64(32, 1n, true); // ino
        view.setUint32(32 + 60, 0o040755, true);
        view.setUint32(32 + 64, 2, true);
        size += 104;
      } else view.setInt32(4, -Errno.ENOSYS, true);
      view.setUint32(0, size, true);
      view.setBigUint64(8, request.view.getBigUint64(8, true), true);
      libc.sys.write(fd, reply.address, size);
    }
  };
  const done = loop();
  return {
    stop() {
      running = false;
      return done;
    },
  };
}

rootTest(
  "mounts: a mount shows its type, source and options, and goes away",
  fuse,
  () =>
    withDirectory((directory, source) => {
      const fd = openFuse();
      mountFuse(libc, fd, directory, source);
      const [mount] = findOurMounts(source);
      assert.equal(mount.mountPoint, directory);
      assert.equal(mount.type, "fuse.understudy");
      assert.equal(mount.source, source);
      assert.ok(mount.options.includes("rw") && mount.options.includes("noatime"));
      assert.ok(!mount.options.includes("nosuid") && !mount.options.includes("nodev"));
      for (const option of ["user_id=0", "group_id=0", "default_permissions", "allow_other"]) {
        assert.ok(mount.superOptions.includes(option), option);
      }
      assert.equal(unmount(libc, directory), true);
      assert.equal(unmount(libc, directory), false);
      assert.deepEqual(findOurMounts(source), []);
      libc.sys.close(fd);
    }),
);

rootTest("mounts: errors say what to do", fuse, () =>
  withDirectory((directory, source) => {
    const fd = openFuse();
    assert.throws(
      () => mountFuse(libc, fd, `${directory}/missing`, source),
      (error) =>
        error instanceof SystemError && error.errno === Errno.ENOENT &&
        error.message.endsWith("Create the directory first"),
    );
    mountFuse(libc, fd, directory, source);
    const held = withStrings(
      [directory],
      ([path]) => libc.sys.open(path, O.PATH | O.CLOEXEC, 0),
    );
    assert.throws(
      () => unmount(libc, directory),
      (error) => error instanceof SystemError && error.code === "EBUSY",
    );
    assert.equal(unmount(libc, directory, { lazy: true }), true);
    libc.sys.close(held);
    libc.sys.close(fd);
  }));

rootTest("mounts: alive, hanging and dead are told apart without hanging oneself", {
  ...fuse,
  loose: true,
}, () =>
  withDirectory(async (directory, source) => {
    const fd = openFuse();
    mountFuse(libc, fd, directory, source);
    assert.equal(await mountState(directory, 50), "hanging");
    const server = serve(fd);
    assert.equal(await mountState(directory, 5000), "alive");
    assert.deepEqual(await clearDeadMounts(libc, source), {
      cleared: [],
      left: [{ path: directory, reason: "another agent serves it: stop that one first" }],
    });
    await server.stop();
    libc.sys.close(fd);
    assert.equal(await mountState(directory, 5000), "dead");
  }));

rootTest(
  "mounts: dead ones are cleared, stacked ones too, others stay",
  fuse,
  () =>
    withDirectory(async (directory, source) => {
      for (const name of ["a", "b", "c"]) Deno.mkdirSync(`${directory}/${name}`);
      const [first, second, other] = [openFuse(), openFuse(), openFuse()];
      mountFuse(libc, first, `${directory}/a`, source);
      libc.sys.close(first);
      // a second agent mounted over the dead one, and died as well
      mountFuse(libc, second, `${directory}/b`, source);
      const third = openFuse();
      mountFuse(libc, third, `${directory}/b`, source);
      libc.sys.close(second);
      libc.sys.close(third);
      mountFuse(libc, other, `${directory}/c`, `other:${source}`);
      libc.sys.close(other);
      const { cleared, left } = await clearDeadMounts(libc, source);
      assert.deepEqual(cleared.sort(), [`${directory}/a`, `${directory}/b`, `${directory}/b`]);
      assert.deepEqual(left, []);
      assert.deepEqual(findOurMounts(source), []);
      assert.equal(findOurMounts(`other:${source}`).length, 1);
    }),
);

rootTest(
  "mounts: a dead one under a foreign mount is left and named",
  fuse,
  () =>
    withDirectory(async (directory, source) => {
      const fd = openFuse();
      mountFuse(libc, fd, directory, source);
      const cover = openFuse();
      mountFuse(libc, cover, directory, "somebody-else");
      libc.sys.close(fd);
      const { cleared, left } = await clearDeadMounts(libc, source);
      assert.deepEqual(cleared, []);
      assert.equal(left[0].reason, `fuse.understudy on ${directory} covers it: unmount that first`);
      libc.sys.close(cover);
    }),
);

rootTest(
  "mounts: a hanging one is cleared by whoever may abort it",
  { ...fuse, loose: true },
  () =>
    withDirectory(async (directory, source) => {
      const fd = openFuse();
      mountFuse(libc, fd, directory, source);
      const refused = await clearDeadMounts(libc, source, { timeoutMs: 30 });
      assert.match(refused.left[0].reason, /does not answer/);
      const { cleared } = await clearDeadMounts(libc, source, {
        timeoutMs: 30,
        abortHanging: true,
      });
      assert.deepEqual(cleared, [directory]);
      assert.equal(abortConnection(libc, 987_654), false);
      libc.sys.close(fd);
    }),
);

rootTest(
  "mounts: whether a process sees the mirror is read from its mount table",
  fuse,
  () =>
    withDirectory(async (directory, source) => {
      const fd = openFuse();
      // This process has a copy of the table from before the mount.
      const child = new Deno.Command("unshare", {
        args: ["-m", "--propagation", "private", "sh", "-c", "echo ready; exec cat"],
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const reader = child.stdout.getReader();
      await reader.read();
      mountFuse(libc, fd, directory, source);
      const { minor } = mountAt(readMounts(), directory)!;
      assert.deepEqual(mountVisibleTo("self", directory, minor), { visible: true, reason: "" });
      assert.deepEqual(mountVisibleTo(Deno.pid, directory, minor).visible, true);
      assert.equal(mountVisibleTo("self", directory, minor + 1).visible, false);
      const outside = mountVisibleTo(child.pid, directory, minor);
      assert.equal(outside.visible, false);
      assert.match(outside.reason, /is not mirrored/);
      assert.match(mountVisibleTo(0x7ffffffe, directory, minor).reason, /cannot be examined/);
      await child.stdin.close();
      await reader.cancel();
      await child.status;
      libc.sys.close(fd);
    }),
);

rootTest("mounts: a namespace that only receives mounts is told from a private one", {
  programs: ["unshare"],
}, async () => {
  assert.equal(slaveNamespaceProblem("/"), undefined);
  const program = `import { slaveNamespaceProblem } from "${import.meta.resolve("./mounts.ts")}";
    console.log(slaveNamespaceProblem("/") === undefined ? "fine" : "slave");`;
  // The outer shell keeps the namespace alive from which the inner one receives.
  const ask = async (propagation: string) => {
    const { stdout } = await new Deno.Command("unshare", {
      args: ["-m", "--propagation", "shared", "sh", "-c", 'unshare "$@"; exit $?', "sh"]
        .concat("-m", "--propagation", propagation, Deno.execPath(), "eval", program),
    }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  assert.equal(await ask("private"), "fine");
  assert.equal(await ask("slave"), "slave");
});
