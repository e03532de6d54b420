/**
 * HTTP to an agent. By `node:http` and not `fetch`: the agent of this machine is asked directly,
 * whatever proxy the environment names.
 */

import { type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { EventEntry } from "../http/facade.ts";
import { Failure } from "./failure.ts";

/** Nobody answers at the agent's address. */
export class NoAgent extends Failure {
  override name = "NoAgent";
}

export interface Answer {
  status: number;
  /** the body as JSON */
  body: unknown;
}

export interface Client {
  /** e.g. `http://127.0.0.1:9010` */
  readonly url: string;
  get(path: string): Promise<Answer>;
  /** an order; takes as long as the agent takes to carry it out */
  post(path: string, body: unknown): Promise<Answer>;
  /** calls `take` with each event until the agent ends the stream, or `signal` does */
  follow(path: string, take: (entry: EventEntry) => void, signal: AbortSignal): Promise<void>;
}

export interface ClientOptions {
  url: string;
  /** completes "nobody answers": how to start the agent */
  help: string;
  /** asked for when an order is given; @throws {Failure} where there is none */
  token(): string;
  /** milliseconds of silence after which a question counts as unanswered; default 10 s */
  timeout?: number;
}

/** Longest answer, in bytes: the status of a thousand modules is a hundredth of it. */
const MAX_ANSWER = 64 * 1024 * 1024;

export function createClient({ url, help, token, timeout = 10_000 }: ClientOptions): Client {
  const base = new URL(url);
  const send = base.protocol === "https:" ? httpsRequest : httpRequest;

  function open(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: string | undefined,
    silence: number | undefined,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const target = new URL(path.replace(/^\//, ""), base.href.replace(/\/?$/, "/"));
      const request: ClientRequest = send(target, { method, headers, agent: false }, resolve);
      request.on("error", (error) => reject(explain(error)));
      if (silence !== undefined) {
        request.setTimeout(silence, () =>
          request.destroy(
            Object.assign(new Error(`no answer within ${silence / 1000} s`), { code: "ETIMEDOUT" }),
          ));
      }
      signal?.addEventListener("abort", () => request.destroy(), { once: true });
      request.end(body);
    });
  }

  function explain(error: Error & { code?: string }): Failure {
    if (error instanceof Failure) return error;
    const reasons: Record<string, string> = {
      ECONNREFUSED: "connection refused",
      ECONNRESET: "connection reset",
      ENOTFOUND: "no such host",
      EHOSTUNREACH: "host unreachable",
      ENETUNREACH: "network unreachable",
    };
    const reason = reasons[error.code ?? ""] ?? (error.message || error.code || "unknown error");
    return new NoAgent(`No agent answers at ${url} (${reason}). ${help}`);
  }

  async function read(message: IncomingMessage): Promise<Answer> {
    const parts: Uint8Array[] = [];
    let length = 0;
    try {
      for await (const part of message as AsyncIterable<Uint8Array>) {
        length += part.length;
        if (length > MAX_ANSWER) throw new Failure(`What answers at ${url} is no agent: too long`);
        parts.push(part);
      }
    } catch (error) {
      throw explain(error as Error);
    }
    const text = new TextDecoder().decode(joined(parts, length));
    try {
      return { status: message.statusCode ?? 0, body: JSON.parse(text) };
    } catch {
      throw new Failure(
        `What answers at ${url} is no agent: it said ${message.statusCode} ${
          message.headers["content-type"] ?? "without a type"
        }, not JSON`,
      );
    }
  }

  return {
    url,
    get: async (path) => await read(await open("GET", path, {}, undefined, timeout)),
    async post(path, body) {
      const headers = {
        "Authorization": `Bearer ${token()}`,
        "Content-Type": "application/json",
      };
      return await read(await open("POST", path, headers, JSON.stringify(body), undefined));
    },
    async follow(path, take, signal) {
      const headers = { "Accept": "text/event-stream" };
      const message = await open("GET", path, headers, undefined, undefined, signal);
      if (message.statusCode !== 200) throw problem(await read(message));
      const decoder = new TextDecoder();
      let text = "";
      try {
        for await (const part of message as AsyncIterable<Uint8Array>) {
          text += decoder.decode(part, { stream: true });
          const whole = text.lastIndexOf("\n\n");
          if (whole < 0) continue;
          for (const line of text.slice(0, whole).split("\n")) {
            if (line.startsWith("data: ")) take(JSON.parse(line.slice("data: ".length)));
          }
          text = text.slice(whole + 2);
        }
      } catch (error) {
        // an agent that ends or dies while it is listened to is one that ended the stream
        if (!isConnectionLoss(error)) throw error;
      }
    },
  };
}

/** What the agent refused, as it said it. */
export function problem({ status, body }: Answer): Failure {
  const { reason } = (body ?? {}) as { reason?: unknown };
  return new Failure(typeof reason === "string" ? reason : `The agent answered ${status}`);
}

function isConnectionLoss(error: unknown): boolean {
  const { code, name } = error as { code?: string; name?: string };
  return typeof code === "string" || name === "AbortError" || name === "Interrupted";
}

function joined(parts: Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
