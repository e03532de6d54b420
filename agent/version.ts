/**
 * Which Understudy this is: the version that `deno.json` declares, and the commit it was made from.
 *
 * `scripts/build` embeds `dist/build.json` into the binary; run from source, git is asked.
 */
import project from "../deno.json" with { type: "json" };

/** The version, as in `0.1.0`. */
export const version: string = project.version;

export interface Build {
  version: string;
  /** short commit id, `+changes` after it where the tree held changes; "unknown" outside a repository */
  commit: string;
  /** where the Deno runtime in this binary came from; "source" where this is no binary */
  runtime: "official" | "DENORT_BIN" | "npm" | "source";
}

/** The embedded facts, or those of the checkout this runs from. Never throws. */
export function build(): Build {
  if (!Deno.build.standalone) return { version, commit: sourceCommit(), runtime: "source" };
  try {
    const text = Deno.readTextFileSync(new URL("../dist/build.json", import.meta.url));
    return { version, ...JSON.parse(text) };
  } catch {
    // a binary made by `deno compile` without scripts/build
    return { version, commit: "unknown", runtime: "official" };
  }
}

function sourceCommit(): string {
  const root = new URL("..", import.meta.url);
  if (root.protocol !== "file:") return "unknown";
  return commitOf(decodeURIComponent(root.pathname)) ?? "unknown";
}

/** The commit of the checkout at `root`, undefined where git or the repository is missing. */
export function commitOf(root: string): string | undefined {
  const git = (...args: string[]) => {
    const result = new Deno.Command("git", {
      args: ["--no-optional-locks", "-C", root, ...args],
      stdout: "piped",
      stderr: "null",
    }).outputSync();
    return result.success ? new TextDecoder().decode(result.stdout).trim() : undefined;
  };
  try {
    const commit = git("rev-parse", "--short=12", "HEAD");
    if (!commit) return undefined;
    const changes = git("status", "--porcelain", "--", "agent", "modules", "mod.ts", "deno.json");
    return changes ? `${commit}+changes` : commit;
  } catch {
    return undefined;
  }
}
