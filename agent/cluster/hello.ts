/**
 * What two nodes say to each other when one connects to the other for a module: after the mutual
 * proof that both know the cluster secret, before the first byte of replication.
 */

import { z } from "zod";
import { type RefusalCode, refusalCodes } from "./events.ts";

/** What the dialling node says of itself and of the module. */
export interface Hello {
  /** protocol version of the link */
  protocol: number;
  /** name of the dialling node */
  node: string;
  /** name of the node it means to reach */
  to: string;
  /** the dialling agent's instance: 32 hexadecimal digits */
  instance: string;
  module: string;
  /** sha-256 of the module's definition on the dialling node */
  digest: string;
  /** the part the dialling node plays; the other side plays the other one */
  role: "source" | "sink";
  /** generation record and whatever else the agents compare: JSON, at most 60 KiB in all */
  record: Record<string, unknown>;
}

/** The accepting node's answer as it travels. */
export type Reply =
  | { ok: true; node: string; instance: string; record: Record<string, unknown> }
  | {
    ok: false;
    node: string;
    /** a sentence for the other side's people */
    reason: string;
    /** why the link itself refuses; undefined where the agent does */
    link?: RefusalCode | undefined;
    /** the agent's own code */
    code?: string | undefined;
  };

const name = z.string().min(1).max(64);
const instance = z.string().regex(/^[0-9a-f]{32}$/);
const record = z.record(z.string(), z.unknown());

const helloSchema = z.object({
  protocol: z.int().min(0).max(255),
  node: name,
  to: name,
  instance,
  module: name,
  digest: z.string().max(128),
  role: z.enum(["source", "sink"]),
  record,
});

const replySchema = z.discriminatedUnion("ok", [
  z.object({ ok: z.literal(true), node: name, instance, record }),
  z.object({
    ok: z.literal(false),
    node: name,
    reason: z.string().max(2048),
    link: z.enum(refusalCodes).optional(),
    code: z.string().max(64).optional(),
  }),
]);

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array): T | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const result = schema.safeParse(JSON.parse(text));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}

/** The hello in a message, or undefined where it holds none. */
export function parseHello(bytes: Uint8Array): Hello | undefined {
  return parse(helloSchema, bytes);
}

/** The reply in a message, or undefined where it holds none. */
export function parseReply(bytes: Uint8Array): Reply | undefined {
  return parse(replySchema, bytes);
}
