import assert from "node:assert/strict";
import { openLibc } from "./libc.ts";
import { eventually, rootTest } from "./testing.ts";
import { describeUser, type DirectoryUser, directoryUsers } from "./users.ts";

const libc = openLibc();

/** Runs a shell command that ends in `cat`, waits until it says "ready", and asks who is there. */
async function usersWhile(
  directory: string,
  script: string,
  wrapper: string[] = [],
): Promise<{ users: DirectoryUser[]; pid: number }> {
  const [program, ...args] = [...wrapper, "sh", "-c", script, "sh", directory];
  const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped" }).spawn();
  const reader = child.stdout.getReader();
  try {
    const { value } = await reader.read();
    assert.equal(new TextDecoder().decode(value), "ready\n");
    return { users: await directoryUsers(libc, [directory]), pid: child.pid };
  } finally {
    await child.stdin.close();
    await reader.cancel();
    await child.status;
  }
}

async function withDirectory(test: (directory: string) => Promise<void>) {
  const directory = await Deno.realPath(await Deno.makeTempDir({ prefix: "understudy-users-" }));
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const programs = ["unshare", "mount", "cat"];

rootTest("users: nobody uses a fresh directory, nor one with a name that only begins alike", {
  programs,
}, () =>
  withDirectory(async (directory) => {
    assert.deepEqual(await directoryUsers(libc, [directory]), []);
    await Deno.mkdir(`${directory}/data`);
    await Deno.mkdir(`${directory}/database`);
    const { users } = await usersWhile(
      `${directory}/data`,
      'cd "$1/../database"; echo ready; exec cat',
    );
    assert.deepEqual(users, []);
  }));

rootTest(
  "users: a working directory at or below it counts",
  { programs },
  () =>
    withDirectory(async (directory) => {
      await Deno.mkdir(`${directory}/sub`);
      for (const where of ["", "/sub"]) {
        const { users, pid } = await usersWhile(directory, `cd "$1${where}"; echo ready; exec cat`);
        const path = directory + where;
        const how = "working directory" as const;
        assert.deepEqual(users, [{ pid, command: "cat", how, path, directory }]);
        assert.equal(describeUser(users[0]), `cat (pid ${pid}, working directory ${path})`);
      }
    }),
);

rootTest(
  "users: open files count, removed ones too",
  { programs },
  () =>
    withDirectory(async (directory) => {
      const open = await usersWhile(directory, 'exec 3>"$1/file"; echo ready; exec cat');
      assert.deepEqual(open.users.map(({ pid, how }) => ({ pid, how })), [
        { pid: open.pid, how: "open file" },
      ]);
      const gone = await usersWhile(
        directory,
        'exec 3>"$1/file"; rm "$1/file"; echo ready; exec cat',
      );
      assert.equal(gone.users[0].path, `${directory}/file (deleted)`);
    }),
);

rootTest("users: a running program counts", { programs }, () =>
  withDirectory(async (directory) => {
    const { users } = await usersWhile(
      directory,
      'cp "$(command -v cat)" "$1/tool"; echo ready; exec "$1/tool"',
    );
    assert.deepEqual(users.map(({ command, how }) => ({ command, how })), [
      { command: "tool", how: "program" },
    ]);
  }));

rootTest(
  "users: a file that is mapped and closed counts",
  { programs },
  () =>
    withDirectory(async (directory) => {
      await Deno.writeFile(`${directory}/mapped`, new Uint8Array(4096));
      const program = `
      import { openLibc, withStrings } from "${import.meta.resolve("./libc.ts")}";
      const { sys } = openLibc();
      const fd = withStrings(["${directory}/mapped"], ([path]) => sys.open(path, 0o2000002, 0));
      sys.mmap(0, 4096, 3, 1, fd, 0);
      sys.close(fd);
      console.log("ready");
      await Deno.stdin.read(new Uint8Array(1));
    `;
      await Deno.writeTextFile(`${directory}.ts`, program);
      try {
        const { users } = await usersWhile(
          directory,
          `exec "${Deno.execPath()}" run -A "$1.ts"`,
        );
        assert.deepEqual(users.map(({ how, path }) => ({ how, path })), [
          { how: "mapped file", path: `${directory}/mapped` },
        ]);
      } finally {
        await Deno.remove(`${directory}.ts`);
      }
    }),
);

rootTest("users: the same path in another namespace with another file system does not count", {
  programs,
}, () =>
  withDirectory(async (directory) => {
    const { users } = await usersWhile(
      directory,
      'mount -t tmpfs none "$1" && cd "$1" && echo ready && exec cat',
      ["unshare", "-m", "--propagation", "private"],
    );
    assert.deepEqual(users, []);
  }));

rootTest("users: another directory of the same file system bound to the path does not count", {
  programs,
}, () =>
  withDirectory(async (directory) => {
    await Deno.mkdir(`${directory}/data`);
    await Deno.mkdir(`${directory}/other`);
    const { users } = await usersWhile(
      `${directory}/data`,
      'mount --bind "$1/../other" "$1" && cd "$1" && echo ready && exec cat',
      ["unshare", "-m", "--propagation", "private"],
    );
    assert.deepEqual(users, []);
  }));

rootTest("users: the directory under another name counts, here and in another namespace", {
  programs,
}, () =>
  withDirectory(async (directory) => {
    await Deno.mkdir(`${directory}/data`);
    await Deno.mkdir(`${directory}/alias`);
    const { users } = await usersWhile(
      `${directory}/data`,
      'mount --bind "$1" "$1/../alias" && cd "$1/../alias" && echo ready && exec cat',
      ["unshare", "-m", "--propagation", "private"],
    );
    assert.deepEqual(users.map(({ how, path }) => ({ how, path })), [
      { how: "working directory", path: `${directory}/alias` },
    ]);
  }));

rootTest(
  "users: each directory is asked for, and whoever is ignored is left out",
  { programs },
  () =>
    withDirectory(async (directory) => {
      for (const name of ["a", "b"]) await Deno.mkdir(`${directory}/${name}`);
      const child = new Deno.Command("sh", {
        args: ["-c", 'cd "$1/a"; exec 3>"$1/b/file"; exec cat', "sh", directory],
        stdin: "piped",
      }).spawn();
      try {
        const both = [`${directory}/a`, `${directory}/b`];
        const users = await eventually("both uses", async () => {
          const users = await directoryUsers(libc, both);
          return users.length === 2 && users;
        });
        assert.deepEqual(users.map((user) => [user.directory, user.how]), [
          [both[0], "working directory"],
          [both[1], "open file"],
        ]);
        assert.deepEqual(await directoryUsers(libc, both, [child.pid]), []);
      } finally {
        await child.stdin.close();
        await child.status;
      }
    }),
);

rootTest("users: our own open files do not count", {}, () =>
  withDirectory(async (directory) => {
    using _file = await Deno.create(`${directory}/mine`);
    assert.deepEqual(await directoryUsers(libc, [directory]), []);
  }));
