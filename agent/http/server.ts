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
  // what is under way; calling one ends it
  const requests: Ends = new Set();
  const streams: Ends = new Set();
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({
      hostname: host,
      port,
      onListen: () => {}, // who started this says so
      onError(error) {
        onError(error);
        return failure(500, "The agent failed");
      },
    }, async (request) => endable(await answer(app, request, requests), streams));
  } catch (error) {
    throw new ListenError(explain(error, listen), { cause: error });
  }
  const endAll = (ends: Ends) => {
    for (const end of [...ends]) end();
  };
  let closing: Promise<void> | undefined;
  return {
    port: server.addr.port,
    close() {
      return closing ??= (async () => {
        const done = server.shutdown();
        // a stream of events would go on for ever: it ends here, and its reader comes back later
        endAll(streams);
        const timers = [
          setTimeout(() => {
            endAll(requests);
            endAll(streams);
          }, FAREWELL),
        ];
        // whoever does not even read its answer is not waited for
        const late = new Promise<void>((resolve) => {
          timers.push(setTimeout(resolve, 2 * FAREWELL));
        });
        await Promise.race([done, late]);
        timers.forEach(clearTimeout);
      })();
    },
  };
}

type Ends = Set<() => void>;

/** The app's answer, or that the agent ends, where that comes first. */
function answer(
  app: { fetch(request: Request): Response | Promise<Response> },
  request: Request,
  requests: Ends,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const end = () => {
      requests.delete(end);
      resolve(failure(503, "The agent ends; what was ordered may still be under way"));
    };
    requests.add(end);
    const answered = (async () => await app.fetch(request))();
    answered.finally(() => requests.delete(end)).then(resolve, reject);
  });
}

function failure(status: number, reason: string): Response {
  return new Response(`${JSON.stringify({ error: "failed", reason })}\n`, {
    status,
    headers: { "Content-Type": "application/json; charset=utf-8", "Connection": "close" },
  });
}

/** The same response, whose body can be ended early if it is a stream of events. */
function endable(response: Response, streams: Ends): Response {
  const type = response.headers.get("content-type") ?? "";
  if (response.body === null || !type.startsWith("text/event-stream")) return response;
  const reader = response.body.getReader();
  let end = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      end = () => {
        if (!streams.delete(end)) return;
        controller.close();
        reader.cancel().catch(() => {});
      };
      streams.add(end);
    },
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) end();
      else if (streams.has(end)) controller.enqueue(value);
    },
    async cancel(reason) {
      streams.delete(end);
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
