/**
 * A node's own account of itself, as it travels in every heartbeat.
 *
 * What arrives here came over the wire. It is authenticated, but it may come from another version or
 * from a broken peer: nothing is used that has not passed {@link decodeView}.
 */

import { z } from "zod";

/** Longest view on the wire, in bytes of UTF-8 JSON. A view of a few modules is below 1,200. */
export const maxViewBytes = 8192;

/** Most modules in one view. */
export const maxViewModules = 64;

const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

const moduleView = z.strictObject({
  name: z.string().min(1).max(64),
  state: z.enum(["STOP", "WAIT", "ALONE", "PRIM", "SECOND"]),
  ready: z.boolean(),
  /** "synced", "syncing", "outdated" or "none"; unknown words of later versions are shown as they are */
  sync: z.string().max(32),
  generation: count,
  /** the generation's random id */
  id: z.string().max(64),
  /** sha-256 of the module's definition, in hexadecimal */
  digest: z.string().max(64),
  appliedSeq: count,
  outdated: z.boolean(),
  /** fingerprint of the user and group numbers this node maps names to */
  users: z.string().max(64).optional(),
  /** what the nodes' decisions say to each other: see failover/view.ts */
  words: z.record(z.string().max(24), z.string().max(80)).optional(),
});

const peerView = z.strictObject({
  node: z.string().min(1).max(64),
  instance: z.string().regex(/^[0-9a-f]{32}$/),
  modules: z.array(moduleView).max(maxViewModules),
});

/** One module as its node sees it. */
export interface ModuleView {
  name: string;
  state: "STOP" | "WAIT" | "ALONE" | "PRIM" | "SECOND";
  ready: boolean;
  sync: string;
  generation: number;
  id: string;
  digest: string;
  appliedSeq: number;
  outdated: boolean;
  users?: string | undefined;
  words?: Record<string, string> | undefined;
}

/** A node as it sees itself. */
export interface PeerView {
  node: string;
  /** 32 hexadecimal digits, new at every start of the agent */
  instance: string;
  modules: ModuleView[];
}

/** The bytes of a view, or a sentence that says why it cannot travel. */
export function encodeView(view: PeerView): Uint8Array<ArrayBuffer> | string {
  const result = peerView.safeParse(view);
  if (!result.success) {
    const issue = result.error.issues[0];
    return `This node's view is malformed at ${issue.path.join(".")}: ${issue.message}`;
  }
  const bytes = new TextEncoder().encode(JSON.stringify(view));
  if (bytes.length > maxViewBytes) {
    return `This node's view takes ${bytes.length} bytes, and heartbeats carry at most ` +
      `${maxViewBytes}: run fewer modules on one pair of nodes`;
  }
  return bytes;
}

/** The view in these bytes, or undefined where they hold none that this version understands. */
export function decodeView(bytes: Uint8Array): PeerView | undefined {
  if (bytes.length > maxViewBytes) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  const result = peerView.safeParse(value);
  return result.success ? result.data : undefined;
}
