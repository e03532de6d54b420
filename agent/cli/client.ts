/** HTTP to an agent, asked directly: a proxy that the environment names has no part in it. */

import type { EventEntry } from "../http/facade.ts";
import { Failure } from "./failure.ts";
import { visible } from "./format.ts";

/** Nobody answers at the agent's address. */
export class NoAgent extends Failure {
  override name = "NoAgent";
}

export interface Answer {
  status: number;
  /** the body as JSON */
  body: unknown;
}

/** To be disposed of (`using`): it holds connections. */
export interface Client extends Disposable {
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
  /** milliseconds after which a question counts as unanswered; default 10 s */
  timeout?: number;
}

export function createClient({ url, help, token, timeout = 10_000 }: ClientOptions): Client {
  const base = url.replace(/\/*$/, "");
  const client = direct(base);

  async function send(path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(base + path, { ...init, redirect: "error", ...client });
    } catch (error) {
      throw noAgent(error);
    }
  }

  async function read(response: Response): Promise<Answer> {
    let text: string;
    try {
      text = await response.text();
    } catch (error) {
      throw noAgent(error);
    }
    try {
      return { status: response.status, body: JSON.parse(text) };
    } catch {
      const type = response.headers.get("content-type") ?? "something without a type";
      throw new Failure(
        `What answers at ${base} is no agent: it said ${response.status} and ${visible(type)}`,
      );
    }
  }

  function noAgent(error: unknown): NoAgent {
    if ((error as Error).name === "TimeoutError") {
      return new NoAgent(
        `The agent at ${base} gives no answer within ${
          timeout / 1000
        } s: it hangs, or its machine ` +
          "is overloaded. If it stays so: systemctl restart understudy",
      );
    }
    return new NoAgent(`No agent answers at ${base} (${explain(error)}). ${help}`);
  }

  return {
    url: base,
    [Symbol.dispose]: () => client.client?.close(),
    get: async (path) => await read(await send(path, { signal: AbortSignal.timeout(timeout) })),
    async post(path, body) {
      const headers = {
        "Authorization": `Bearer ${token()}`,
        "Content-Type": "application/json",
      };
      return await read(await send(path, { method: "POST", headers, body: JSON.stringify(body) }));
    },
    async follow(path, take, signal) {
      const response = await send(path, { headers: { Accept: "text/event-stream" }, signal });
      if (response.status !== 200 || response.body === null) throw problem(await read(response));
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      let text = "";
      while (true) {
        // an agent that ends or dies while it is listened to is one that ended the stream
        const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
        if (done || value === undefined) return;
        text += decoder.decode(value, { stream: true });
        const whole = text.lastIndexOf("\n\n");
        if (whole < 0) continue;
        for (const line of text.slice(0, whole).split("\n")) {
          if (line.startsWith("data: ")) take(JSON.parse(line.slice("data: ".length)));
        }
        text = text.slice(whole + 2);
      }
    },
  };
}

/** For fetch: a connection to the address itself, whatever HTTP_PROXY says. */
function direct(url: string): { client?: Deno.HttpClient } {
  const { protocol, hostname, port } = new URL(url);
  if (protocol !== "http:") return {};
  const proxy = { transport: "tcp" as const, hostname, port: Number(port || 80) };
  return { client: Deno.createHttpClient({ proxy }) };
}

/** Why there was no answer, in a few words. */
function explain(error: unknown): string {
  const { message } = error as Error;
  const reasons: [pattern: RegExp, reason: string][] = [
    [/connection refused/i, "connection refused"],
    [/lookup address/i, "no such host"],
    [/no route to host/i, "no route to that host"],
    [/network is unreachable/i, "the network is unreachable"],
    [/redirect/i, "it leads elsewhere"],
    [/connection (reset|closed)|before message completed|end of file/i, "connection broken off"],
  ];
  return reasons.find(([pattern]) => pattern.test(message))?.[1] ?? visible(message);
}

/** What the agent refused, as it said it. */
export function problem({ status, body }: Answer): Failure {
  const { reason } = (body ?? {}) as { reason?: unknown };
  return new Failure(
    typeof reason === "string" ? visible(reason) : `The agent answered ${status}`,
  );
}
