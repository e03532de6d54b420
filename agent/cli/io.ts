/** What a command sees of the world: its streams and its environment. */

import { Buffer } from "node:buffer";

export interface Io {
  /** standard output; throws {@link BrokenPipe} where nobody reads any more */
  out(text: string): void;
  /** standard error */
  err(text: string): void;
  /** standard output is a terminal */
  terminal: boolean;
  /** colours are welcome on standard output, on standard error */
  color: { out: boolean; err: boolean };
  env(name: string): string | undefined;
  /** asks a person, and returns the line typed; undefined where no person is there */
  ask(question: string): Promise<string | undefined>;
  /** ends what goes on for ever (--watch, --follow) */
  signal: AbortSignal;
}

/** Whoever read our output has gone (`| head`). No error of ours. */
export class BrokenPipe extends Error {
  override name = "BrokenPipe";
}

/** The streams of this process. */
export function processIo(): Io {
  const { stdin, stdout, stderr } = Deno;
  const env = (name: string) => Deno.env.get(name) || undefined;
  const colorful = (stream: { isTerminal(): boolean }) =>
    stream.isTerminal() && env("NO_COLOR") === undefined && env("TERM") !== "dumb";
  return {
    out: (text) => writeAll(stdout, text),
    err(text) {
      try {
        writeAll(stderr, text);
      } catch (error) {
        if (!(error instanceof BrokenPipe)) throw error; // nobody there to tell
      }
    },
    terminal: stdout.isTerminal(),
    color: { out: colorful(stdout), err: colorful(stderr) },
    env,
    async ask(question) {
      if (!stdin.isTerminal()) return undefined;
      writeAll(stderr, question);
      return await readLine(stdin.readable);
    },
    signal: new AbortController().signal,
  };
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += stream.writeSync(bytes.subarray(at));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) throw new BrokenPipe();
      // whoever shares the pipe may have made it non-blocking
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

async function readLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream.values({ preventCancel: true })) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("\n")) break;
  }
  return text.split("\n")[0].trim();
}
