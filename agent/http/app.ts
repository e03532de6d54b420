/** The HTTP interface of the agent. Reading is free; what changes something needs the token. */

import { type Context, Hono } from "hono";
import { sameToken } from "../config/secret.ts";
import { readOrder } from "./body.ts";
import { eventsAfter, eventStream } from "./event_stream.ts";
import type { Facade, ModuleStatus, Verb } from "./facade.ts";
import { json, refuse } from "./json.ts";
import { openApi } from "./openapi.ts";
import { page, pagePolicy } from "./page.ts";

/** What an operator can order. */
export const verbs: readonly Verb[] = ["start", "stop", "restart", "prim", "second"];

/** Whatever a browser might do with an answer, it does not. */
const securityHeaders = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

/**
 * The app over an agent.
 *
 * @param token what an order must carry; where it is empty, every order is refused
 */
export function createApp(facade: Facade, token: string): Hono {
  const app = new Hono();
  const readable: [path: string, handler: (c: Context) => Response | Promise<Response>][] = [
    ["/", (c) => c.html(page(facade.status()), 200, { "Content-Security-Policy": pagePolicy })],
    ["/status", (c) => json(c, facade.status())],
    ["/status/:module", (c) => {
      const module = find(facade, c);
      return module === undefined ? unknownModule(facade, c) : json(c, module);
    }],
    [
      "/healthz",
      (c) => json(c, { status: "ok", node: facade.node, version: facade.version }),
    ],
    ["/ready/:module", (c) => ready(facade, c)],
    ["/events", (c) => events(facade, c)],
    ["/openapi.json", (c) => json(c, openApi(facade.version))],
  ];
  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(securityHeaders)) {
      if (!c.res.headers.has(name)) c.header(name, value);
    }
  });
  for (const [path, handler] of readable) {
    app.get(path, handler); // and HEAD
    app.all(path, (c) => wrongMethod(c, "GET, HEAD"));
  }
  app.post("/modules/:module/:verb", (c) => order(facade, token, c));
  app.all(
    "/modules/:module/:verb",
    (c) => isVerb(c.req.param("verb")) ? wrongMethod(c, "POST") : notThere(c),
  );
  app.notFound(notThere);
  app.onError((error, c) => refuse(c, 500, "failed", `The agent failed: ${error.message}`));
  return app;
}

function find(facade: Facade, c: Context): ModuleStatus | undefined {
  const name = c.req.param("module");
  return facade.status().modules.find((module) => module.name === name);
}

function unknownModule(facade: Facade, c: Context): Response {
  const known = facade.status().modules.map((module) => module.name);
  const name = shown(c.req.param("module") ?? "");
  return refuse(
    c,
    404,
    "unknown",
    known.length === 0
      ? `There is no module ${name}: none is defined on ${facade.node}`
      : `There is no module ${name} on ${facade.node}, which has ${known.join(", ")}`,
  );
}

/** For load balancers: only where the application serves. */
function ready(facade: Facade, c: Context): Response {
  const module = find(facade, c);
  if (module === undefined) return unknownModule(facade, c);
  const { name, state, reason } = module;
  const serves = state === "ALONE" || state === "PRIM";
  if (serves && module.ready) return json(c, { module: name, state, reason });
  return json(c, { error: "not-ready", reason, module: name, state }, 503);
}

function events(facade: Facade, c: Context): Response {
  const query = c.req.query();
  const text = query.after ?? c.req.header("last-event-id") ?? "0";
  if (!/^\d{1,15}$/.test(text)) {
    return refuse(c, 400, "bad-request", `"after" must be an event's id, found ${shown(text)}`);
  }
  const after = Number(text);
  const module = query.module === "" ? undefined : query.module;
  const follow = query.follow === "1" || query.follow === "true" ||
    (c.req.header("accept") ?? "").includes("text/event-stream");
  if (!follow) return json(c, eventsAfter(facade, after, module));
  const headers = { "Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no" };
  if (c.req.raw.method === "HEAD") return c.body(null, 200, headers);
  return c.body(eventStream(facade, after, module), 200, headers);
}

async function order(facade: Facade, token: string, c: Context): Promise<Response> {
  const verb = c.req.param("verb") ?? "";
  const module = c.req.param("module") ?? "";
  if (!isVerb(verb)) return notThere(c);
  // before anything else is looked at: who may not change anything learns nothing by trying
  const stranger = authorize(c, token);
  if (stranger !== undefined) return stranger;
  const body = await readOrder(c.req.raw);
  if ("problem" in body) {
    return refuse(c, body.problem === "too-large" ? 413 : 400, body.problem, body.reason);
  }
  const outcome = await facade.order(module, verb, body);
  if (outcome.ok) return json(c, { ok: true, text: outcome.text });
  const { error, reason } = outcome;
  return refuse(c, error === "unknown" ? 404 : error === "refused" ? 409 : 500, error, reason);
}

/** RFC 6750, section 2.1. Nothing where the request carries the token. */
function authorize(c: Context, token: string): Response | undefined {
  const [, presented] = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "") ?? [];
  if (presented === undefined) {
    return refuse(
      c,
      401,
      "unauthorized",
      "This needs the token of http.token_file, as Authorization: Bearer TOKEN",
      { "WWW-Authenticate": 'Bearer realm="understudy"' },
    );
  }
  if (token !== "" && sameToken(presented, token)) return undefined;
  return refuse(c, 403, "forbidden", "This is not the token of this agent's http.token_file");
}

function wrongMethod(c: Context, allowed: string): Response {
  return refuse(c, 405, "method-not-allowed", `Only ${allowed} is possible here`, {
    Allow: allowed,
  });
}

function notThere(c: Context): Response {
  return refuse(c, 404, "unknown", `There is nothing at ${shown(c.req.path)}; see /openapi.json`);
}

function isVerb(word: string | undefined): word is Verb {
  return verbs.some((verb) => verb === word);
}

/** A text of a stranger's in quotes, shortened. */
function shown(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}
