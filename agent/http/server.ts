/** The HTTP interface on a socket. */

import { joinHostPort, splitHostPort } from "../config/addresses.ts";

export interface Server {
  /** the port, also where port 0 asked for any */
  port: number;
  /** takes no new request, gives those under way a moment, ends streams; settles when all is closed */
  close(): Promise<void>;
}

/** The address cannot be listened on. */
export class ListenError extends Error {
  override name = "ListenError";
}

/** How long answers under way may take to end when the server closes, in milliseconds. */
const FAREWELL = 1_000;

/**
 * Serves an app.
 *
 * @param listen "host:port", an IPv6 address in brackets
 * @param onError hears of requests that fail in the server itself
 * @throws {ListenError} where the address is taken, or not one of this machine
 */
export function serve(
  app: { fetch(request: Request): Response | Promise<Response> },
  listen: string,
  onError: (error: unknown) => void,
): Server {
  const { host, port } = splitHostPort(listen);
  const abort = new AbortController();
  const open = new Set<AbortController>();
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({
      hostname: host,
      port,
      signal: abort.signal,
      onListen: () => {}, // who started this says so
      onError(error) {
        onError(error);
        return new Response('{"error":"failed","reason":"The agent failed"}\n', {
          status: 500,
          headers: { "Content-Type": "application/json; charset=utf-8" },
        });
      },
    }, async (request) => endable(await app.fetch(request), open));
  } catch (error) {
    throw new ListenError(explain(error, listen), { cause: error });
  }
  let closing: Promise<void> | undefined;
  return {
    port: server.addr.port,
    close() {
      return closing ??= (async () => {
        const done = server.shutdown();
        // a stream of events would go on for ever: it ends here, and its reader comes back later
        for (const stream of open) stream.abort();
        const late = setTimeout(() => abort.abort(), FAREWELL);
        try {
          await Promise.race([
            done,
            new Promise((resolve) => abort.signal.addEventListener("abort", resolve)),
          ]);
        } finally {
          clearTimeout(late);
        }
      })();
    },
  };
}

/** The same response, whose body ends early when the server closes, if it is a stream of events. */
function endable(response: Response, open: Set<AbortController>): Response {
  const type = response.headers.get("content-type") ?? "";
  if (response.body === null || !type.startsWith("text/event-stream")) return response;
  const end = new AbortController();
  open.add(end);
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      end.signal.addEventListener("abort", () => {
        open.delete(end);
        reader.cancel().catch(() => {});
        controller.close();
      });
    },
    async pull(controller) {
      const { done, value } = await reader.read();
      if (end.signal.aborted) return;
      if (done) end.abort();
      else controller.enqueue(value);
    },
    async cancel(reason) {
      open.delete(end);
      await reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
  return new Response(body, response);
}

function explain(error: unknown, listen: string): string {
  const { host, port } = splitHostPort(listen);
  const where = joinHostPort({ host, port });
  if (error instanceof Deno.errors.AddrInUse) {
    return `${where} (http.listen) is taken by another program. Is an agent running already? ` +
      `\`ss -ltnp sport = :${port}\` names it; http.listen can be another address`;
  }
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return `${where} (http.listen) is no address of this machine. Use 127.0.0.1:${port}, or an ` +
      "address that `ip address` shows";
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return `${where} (http.listen) may be listened on by root only. Use a port from 1024 on`;
  }
  const message = error instanceof Error ? error.message : String(error);
  return `${where} (http.listen) cannot be listened on: ${message}`;
}
