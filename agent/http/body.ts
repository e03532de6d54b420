/** The body of an order: small, optional, and read only as far as is allowed. */

/** Longest body of a request, in bytes: an order needs a few dozen. */
export const MAX_BODY = 64 * 1024;

export type OrderBody =
  | { force: boolean }
  | { problem: "too-large" | "bad-request"; reason: string };

/** Reads `{"force": true}`, or nothing at all. */
export async function readOrder(request: Request): Promise<OrderBody> {
  const text = await readText(request);
  if (text === undefined) {
    return { problem: "too-large", reason: `The body is longer than ${MAX_BODY} bytes` };
  }
  if (text.trim() === "") return { force: false };
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { problem: "bad-request", reason: "The body is not JSON" };
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    return { problem: "bad-request", reason: 'The body must be an object such as {"force": true}' };
  }
  for (const [key, value] of Object.entries(body)) {
    if (key !== "force") {
      return { problem: "bad-request", reason: `Unknown key ${JSON.stringify(key.slice(0, 64))}` };
    }
    if (typeof value !== "boolean") {
      return { problem: "bad-request", reason: '"force" must be true or false' };
    }
  }
  return { force: (body as { force?: boolean }).force ?? false };
}

/** The body as text; undefined where it is too long, of which no more is read then. */
async function readText(request: Request): Promise<string | undefined> {
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY) return undefined;
  if (request.body === null) return "";
  const decoder = new TextDecoder();
  let length = 0;
  let text = "";
  // leaving the loop cancels the stream
  for await (const chunk of request.body) {
    length += chunk.byteLength;
    if (length > MAX_BODY) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
