/**
 * Owners travel as numbers. Where the nodes give the same user or group different numbers, a file that
 * belongs to `postgres` here belongs to somebody else there: this finds the ones that matter.
 */

/** Names of users and groups with their numbers, as a node has them in its files. */
export interface Owners {
  users: Record<string, number>;
  groups: Record<string, number>;
}

/** Numbers that own something in the mirrored directories. */
export interface OwnersInUse {
  users: Set<number>;
  groups: Set<number>;
}

/** Entries that travel in a hello, of each of the two files. */
const maxEntries = 400;

/** How far the directories are looked through for owners. */
const surveyDepth = 3;
const surveyEntries = 2000;

/** Reads this node's users and groups. Missing files count as empty. */
export async function readOwners(
  passwd = "/etc/passwd",
  group = "/etc/group",
): Promise<Owners> {
  return { users: await readNumbers(passwd), groups: await readNumbers(group) };
}

/** The third field of each line by the first: passwd(5), group(5). */
async function readNumbers(file: string): Promise<Record<string, number>> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch {
    return {};
  }
  const numbers: Record<string, number> = {};
  for (const line of text.split("\n").slice(0, maxEntries)) {
    const [name, , number] = line.split(":");
    if (name && /^\d+$/.test(number ?? "")) numbers[name] = Number(number);
  }
  return numbers;
}

/** Who owns what is in the upper levels of the directories. */
export async function surveyOwners(directories: readonly string[]): Promise<OwnersInUse> {
  const inUse: OwnersInUse = { users: new Set(), groups: new Set() };
  let left = surveyEntries;
  const look = async (path: string, depth: number): Promise<void> => {
    if (left-- <= 0) return;
    const info = await Deno.lstat(path);
    if (info.uid !== null) inUse.users.add(info.uid);
    if (info.gid !== null) inUse.groups.add(info.gid);
    if (!info.isDirectory || depth === 0) return;
    for await (const entry of Deno.readDir(path)) {
      if (left <= 0) return;
      // What vanishes meanwhile owns nothing any more.
      await look(`${path}/${entry.name}`, depth - 1).catch(() => {});
    }
  };
  for (const directory of directories) await look(directory, surveyDepth).catch(() => {});
  return inUse;
}

/** Takes what a peer's hello says for owners, as far as it makes sense. */
export function parseOwners(value: unknown): Owners | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { users, groups } = value as Record<string, unknown>;
  const numbers = (map: unknown): Record<string, number> | undefined => {
    if (typeof map !== "object" || map === null) return undefined;
    const entries = Object.entries(map).filter(([, n]) => Number.isSafeInteger(n));
    return Object.fromEntries(entries.slice(0, maxEntries)) as Record<string, number>;
  };
  const [u, g] = [numbers(users), numbers(groups)];
  return u && g ? { users: u, groups: g } : undefined;
}

/** Sentences about owners in use here that mean somebody else, or nobody, on the peer. */
export function compareOwners(
  own: Owners,
  peer: Owners,
  peerName: string,
  inUse: OwnersInUse,
): string[] {
  return [
    ...compareKind("User", own.users, peer.users, peerName, inUse.users),
    ...compareKind("Group", own.groups, peer.groups, peerName, inUse.groups),
  ];
}

function compareKind(
  kind: "User" | "Group",
  own: Record<string, number>,
  peer: Record<string, number>,
  peerName: string,
  inUse: ReadonlySet<number>,
): string[] {
  const sentences: string[] = [];
  for (const [name, number] of Object.entries(own)) {
    if (!inUse.has(number) || peer[name] === number) continue;
    const there = peer[name] === undefined ? "does not exist" : `is number ${peer[name]}`;
    const other = Object.entries(peer).find(([, n]) => n === number)?.[0];
    const means = other === undefined ? "" : `, where ${number} is ${other}`;
    sentences.push(
      `${kind} ${name} is number ${number} here and ${there} on ${peerName}${means}: files keep ` +
        `their numbers, so give it the same number on both nodes`,
    );
  }
  return sentences;
}
