/** The interface described for programs: an OpenAPI 3.1 document. */

type Json = Record<string, unknown>;

const text = { type: "string" };
const whole = { type: "integer", minimum: 0 };
const perhapsNumber = { type: ["number", "null"] };
const flag = { type: "boolean" };

function object(properties: Json): Json {
  return { type: "object", properties, required: Object.keys(properties) };
}

function list(items: Json): Json {
  return { type: "array", items };
}

const moduleStatus = object({
  name: text,
  state: {
    enum: ["STOP", "WAIT", "ALONE", "PRIM", "SECOND"],
    description: "ALONE and PRIM serve; SECOND follows; WAIT may not serve yet",
  },
  ready: { ...flag, description: "false during a transition or a resync" },
  reason: { ...text, description: "a sentence for people" },
  sync: { enum: ["synced", "syncing", "outdated", "none"] },
  generation: whole,
  vip: { ...list(text), description: "the addresses that this node holds now" },
  application: { enum: ["none", "stopped", "starting", "running", "stopping", "failed"] },
  peer: object({
    node: text,
    state: { type: ["string", "null"], description: "null: not heard" },
    ready: flag,
    heartbeat_ms: { ...perhapsNumber, description: "since it was last heard, over any network" },
  }),
  replication: object({
    ops: whole,
    bytes: whole,
    lag_ops: whole,
    ack_us_p50: perhapsNumber,
    ack_us_p99: perhapsNumber,
  }),
  resync: {
    oneOf: [
      { type: "null" },
      object({ phase: text, files_done: whole, bytes_compared: whole, bytes_sent: whole }),
    ],
  },
  checks: list(object({ name: text, ok: flag })),
  changed: { ...flag, description: "the definition on disk is another one: a restart applies it" },
  warnings: list(text),
});

const schemas = {
  ModuleStatus: moduleStatus,
  AgentStatus: object({ node: text, version: text, modules: list(ref("ModuleStatus")) }),
  Event: object({
    id: { ...whole, description: "rises by one with each event of a run of the agent" },
    time: { ...text, format: "date-time" },
    level: { enum: ["info", "warning", "error"] },
    module: { type: ["string", "null"], description: "null: the agent itself" },
    text,
  }),
  Error: object({ error: text, reason: text }),
};

function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function content(schema: Json, type = "application/json"): Json {
  return { [type]: { schema } };
}

function problem(description: string): Json {
  return { description, content: content(ref("Error")) };
}

const module = { name: "module", in: "path", required: true, schema: text };

function get(summary: string, responses: Json, parameters: Json[] = []): Json {
  return { get: { summary, parameters, responses } };
}

function order(summary: string): Json {
  return {
    post: {
      summary,
      parameters: [module],
      security: [{ token: [] }],
      requestBody: {
        required: false,
        content: content({
          type: "object",
          properties: { force: flag },
          additionalProperties: false,
        }),
      },
      responses: {
        200: { description: "Done", content: content(object({ ok: flag, text })) },
        400: problem("The body is not what it should be"),
        401: problem("The token is missing"),
        403: problem("The token is wrong"),
        404: problem("There is no such module"),
        409: problem("Refused: it would break a promise"),
        413: problem("The body is too long"),
        500: problem("It was tried and failed"),
      },
    },
  };
}

/** The document for an agent of this version. */
export function openApi(version: string): Json {
  const status = { description: "What is so now", content: content(ref("AgentStatus")) };
  return {
    openapi: "3.1.0",
    info: { title: "Understudy", version },
    paths: {
      "/status": get("The node and all its modules", { 200: status }),
      "/status/{module}": get("One module", {
        200: { description: "What is so now", content: content(ref("ModuleStatus")) },
        404: problem("There is no such module"),
      }, [module]),
      "/healthz": get("Whether the agent lives", {
        200: {
          description: "It does",
          content: content(object({ status: { const: "ok" }, node: text, version: text })),
        },
      }),
      "/ready/{module}": get("Whether the application serves here, for load balancers", {
        200: {
          description: "It serves here",
          content: content(object({ module: text, state: text, reason: text })),
        },
        404: problem("There is no such module"),
        503: problem("It does not serve here"),
      }, [module]),
      "/events": get("What happened, oldest first", {
        200: {
          description: "An array, or a stream of server-sent events",
          content: {
            ...content(list(ref("Event"))),
            ...content(text, "text/event-stream"),
          },
        },
        400: problem("A parameter is not what it should be"),
      }, [
        { name: "after", in: "query", schema: whole, description: "only events with a higher id" },
        { name: "module", in: "query", schema: text, description: "only events of this module" },
        {
          name: "follow",
          in: "query",
          schema: { enum: ["1"] },
          description: "stream, as with Accept: text/event-stream",
        },
      ]),
      "/modules/{module}/start": order("Start the module"),
      "/modules/{module}/stop": order("Stop the module on this node"),
      "/modules/{module}/restart": order("Stop and start the module with its definition on disk"),
      "/modules/{module}/prim": order("This node has the good data: serve it"),
      "/modules/{module}/second": order("Follow the peer; this node's own files may be replaced"),
    },
    components: {
      schemas,
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
  };
}
