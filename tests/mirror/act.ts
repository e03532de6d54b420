/**
 * Random actions on a tree, from a seed: every call that changes something, on paths that are often the
 * same, so that types change places, names meet and errors happen. What an action hits is not tracked:
 * what fails, fails.
 */
import { createRandom, type Random } from "../history/random.ts";
import * as c from "./calls.ts";
import { OpenFlag } from "./calls.ts";

const names = ["a", "b", "c", "d", "e", "f", "\xc3\x84", "\xff\x84 x", "g.tmp", "h"];
const sizes = [0, 1, 511, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 200_001, 300_000];

export interface Actor {
  /** Does one thing; returns its name and its result. */
  act(): { name: string; result: number };
  close(): void;
}

export interface ActorOptions {
  seed: number;
  roots: string[];
  /** names at every level; the default has all kinds of bytes */
  names?: string[];
  /** how many descriptors are kept open for later; default 6 */
  keep?: number;
  /** no files are made immutable or append-only */
  noFlags?: boolean;
  /** largest offset of a write; default 400,000 */
  reach?: number;
}

/** Fills plain directories: some directories first, so that there is something to act in. */
export function grow(roots: string[], seed: number, actions: number): void {
  for (const root of roots) {
    for (const a of names.slice(0, 5)) {
      c.mkdir(`${root}/${a}`);
      for (const b of names.slice(4, 8)) c.mkdir(`${root}/${a}/${b}`);
    }
  }
  const actor = createActor({ seed, roots });
  for (let i = 0; i < actions; i++) actor.act();
  actor.close();
}

/** Makes an actor. The same seed does the same as long as nobody else changes the tree. */
export function createActor(options: ActorOptions): Actor {
  const random = createRandom(options.seed);
  const { roots, keep = 6, reach = 400_000 } = options;
  const words = options.names ?? names;
  const kept: number[] = [];
  // Something to write: the same for every actor, so that different trees often agree.
  const noise = createRandom(1);
  for (let i = 0; i < c.data.bytes.length; i++) {
    c.data.bytes[i] = i < 65536 ? noise.below(256) : c.data.bytes[i & 65535] ^ (i >> 16);
  }

  const path = (): string => {
    let at = random.pick(roots);
    const depth = 1 + random.below(3);
    for (let i = 0; i < depth; i++) at += `/${random.pick(words)}`;
    return at;
  };

  const withFile = (flags: number, body: (fd: number) => number): number => {
    if (kept.length > 0 && random.chance(0.4)) return body(random.pick(kept));
    const fd = c.open(path(), flags | OpenFlag.nonBlock | OpenFlag.noFollow, 0o644);
    if (fd < 0) return fd;
    const r = body(fd);
    if (kept.length < keep && random.chance(0.3)) kept.push(fd);
    else c.close(fd);
    return r;
  };

  const actions = actionsOf(random, path, withFile, kept, reach);
  const pool: (keyof typeof actions)[] = [];
  for (const [name, weight] of Object.entries(weights)) {
    if (options.noFlags && name === "flags") continue;
    for (let i = 0; i < weight; i++) pool.push(name as keyof typeof actions);
  }
  return {
    act() {
      const name = random.pick(pool);
      return { name, result: actions[name]() };
    },
    close() {
      for (const fd of kept.splice(0)) c.close(fd);
    },
  };
}

const weights = {
  write: 14,
  create: 8,
  append: 4,
  truncate: 4,
  empty: 3,
  allocate: 5,
  scribble: 3,
  copy: 2,
  release: 4,
  mkdir: 8,
  rmdir: 3,
  unlink: 7,
  rename: 8,
  exchange: 4,
  link: 6,
  symlink: 3,
  node: 2,
  temporary: 3,
  chmod: 3,
  chown: 3,
  times: 3,
  xattr: 4,
  dropXattr: 2,
  acl: 2,
  flags: 1,
  sync: 2,
};

function actionsOf(
  random: Random,
  path: () => string,
  withFile: (flags: number, body: (fd: number) => number) => number,
  kept: number[],
  reach: number,
): Record<keyof typeof weights, () => number> {
  const size = () => random.chance(0.7) ? random.pick(sizes) : random.below(reach);
  const writable = OpenFlag.readWrite;
  const some = (fd: number): number => {
    const length = 1 + (random.chance(0.5) ? random.below(9000) : random.below(150_000));
    return c.pwriteData(fd, random.below(65536), length, size());
  };
  return {
    write: () => withFile(writable, some),
    create: () => withFile(writable | OpenFlag.create, (fd) => random.chance(0.8) ? some(fd) : 0),
    append: () =>
      withFile(
        OpenFlag.readWrite | OpenFlag.append,
        (fd) => c.pwriteData(fd, 0, 1 + random.below(5000), random.below(reach)),
      ),
    truncate: () => withFile(writable, (fd) => c.ftruncate(fd, size())),
    empty: () => withFile(writable | OpenFlag.truncate, () => 0),
    allocate: () =>
      withFile(writable, (fd) => {
        const mode = random.pick([0, 1, c.Falloc.punch, c.Falloc.punch, c.Falloc.zero, 17, 8, 32]);
        const unit = mode === 8 || mode === 32 ? 4096 : 1;
        const length = unit * (1 + random.below(Math.floor(150_000 / unit)));
        return c.fallocate(fd, mode, unit * random.below(Math.floor(reach / unit)), length);
      }),
    scribble: () => withFile(writable, (fd) => c.scribble(fd, 4096 * random.below(20), 4096 * 3)),
    copy: () =>
      withFile(writable, (from) =>
        withFile(
          writable,
          (to) => c.copyRange(from, random.below(9000), to, size(), random.below(100_000)),
        )),
    release: () => kept.length === 0 ? 0 : c.close(kept.splice(random.below(kept.length), 1)[0]),
    mkdir: () => c.mkdir(path(), random.pick([0o755, 0o700, 0o2775, 0o1777])),
    rmdir: () => c.rmdir(path()),
    unlink: () => c.unlink(path()),
    rename: () => c.rename(path(), path(), random.pick([0, 0, 0, c.NOREPLACE])),
    exchange: () => c.rename(path(), path(), c.EXCHANGE),
    link: () => c.link(path(), path()),
    symlink: () => c.symlink(random.pick(["a", "nowhere", "/etc/passwd", "\xff"]), path()),
    node: () => {
      const kind = random.pick([0o010644, 0o140600, 0o020666, 0o060600, 0o100640]);
      return c.mknod(path(), kind, random.pick([0xfa07, 0xfb08]));
    },
    temporary: () => {
      const place = path();
      const parent = place.slice(0, place.lastIndexOf("/"));
      const fd = c.open(parent, writable | OpenFlag.temporary, 0o640);
      if (fd < 0) return fd;
      some(fd);
      const r = c.linkFd(fd, place);
      if (r >= 0 && random.chance(0.5)) some(fd);
      c.close(fd);
      return r;
    },
    chmod: () => c.chmod(path(), random.pick([0o644, 0o600, 0o4755, 0o2755, 0o777, 0o1777])),
    chown: () => c.chown(path(), random.pick([0, 1, 1000]), random.pick([0, 1, 1000])),
    times: () => {
      const at = BigInt(1_000_000_000 + random.below(700_000_000)) * 1_000_000_000n;
      return c.utimes(path(), at, at + BigInt(random.below(999_999_999)));
    },
    xattr: () => {
      const name = random.pick(["user.one", "user.two", "trusted.three", "user.\xc3\x84"]);
      return c.setxattr(path(), name, new Uint8Array(random.below(200)).fill(65));
    },
    dropXattr: () => c.removexattr(path(), random.pick(["user.one", "user.two", "trusted.three"])),
    acl: () => {
      const which = random.pick(["system.posix_acl_access", "system.posix_acl_default"]);
      if (random.chance(0.3)) return c.removexattr(path(), which);
      return c.setxattr(path(), which, c.acl(random.pick([1, 1000]), random.below(8)));
    },
    flags: () => {
      const flag = random.pick([c.InodeFlag.immutable, c.InodeFlag.append, c.InodeFlag.nodump]);
      return random.chance(0.5)
        ? c.changeFlags(path(), flag, 0)
        : c.changeFlags(path(), 0, c.InodeFlag.immutable | c.InodeFlag.append);
    },
    sync: () => withFile(writable, (fd) => c.fsync(fd)),
  };
}
