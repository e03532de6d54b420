/** A module's connections: dialled, accepted, handed to the data path, or closed unused. */

import type { Control, Hello, HelloAnswer } from "../cluster/control.ts";
import type { EventLevel } from "../events.ts";
import type { LinkHandle } from "../mirror/messages.ts";
import { compareOwners, type Owners, type OwnersInUse, parseOwners } from "./owners.ts";
import type { Action, Event } from "./types.ts";
import { type Hello as SinkHello, parseHello, parseHistory } from "./view.ts";

export interface LinksHost {
  control(): Pick<Control, "dial"> | undefined;
  closeLink(link: LinkHandle): void;
  owners(): Promise<Owners>;
  surveyOwners(directories: string[]): Promise<OwnersInUse>;
  event(level: EventLevel, module: string, text: string): void;
}

export interface LinksOptions {
  host: LinksHost;
  module: string;
  node: string;
  /** the module's other node, and the digest of its definition, as they are now */
  peer(): string;
  digest(): string;
  feed(event: Event): void;
}

export interface Links {
  /** the own address of the connection that was handed to the data path last, "" for none */
  address(): string;
  dial(hello: SinkHello): Promise<void>;
  onHello(hello: Hello): HelloAnswer;
  onLink(link: LinkHandle, hello: Hello): void;
  /** carries out an `admit` action */
  admit(action: Extract<Action, { kind: "admit" }>): void;
  /** The connection of this number, which is the caller's from now on; undefined: it is gone. */
  take(connection: number): LinkHandle | undefined;
  discard(connection: number): void;
  /** Looks who owns the files, to warn of numbers that mean somebody else on the peer. */
  survey(directories: string[]): Promise<void>;
}

export function createLinks(options: LinksOptions): Links {
  const { host, module, node, feed } = options;
  let requests = 0;
  let connections = 0;
  let address = "";
  let owners: Owners | undefined;
  let inUse: OwnersInUse | undefined;
  let warnedInstance = "";
  const waiting = new Map<number, LinkHandle>();
  const sessions = new WeakMap<Hello, string>();
  const admissions = new Map<number, Extract<Action, { kind: "admit" }>["answer"]>();

  function keep(link: LinkHandle): number {
    waiting.set(++connections, link);
    return connections;
  }

  function take(connection: number): LinkHandle | undefined {
    const link = waiting.get(connection);
    waiting.delete(connection);
    if (link) address = link.address;
    return link;
  }

  function warnOfOwners(hello: Hello): void {
    const theirs = parseOwners(hello.record.owners);
    if (!theirs || !owners || !inUse || warnedInstance === hello.instance) return;
    warnedInstance = hello.instance;
    for (const text of compareOwners(owners, theirs, hello.node, inUse)) {
      host.event("warning", module, text);
    }
  }

  return {
    address: () => address,
    async dial(hello) {
      const control = host.control();
      const refuse = (code: string, reason: string) => feed({ kind: "refused", code, reason });
      if (!control) return queueMicrotask(() => refuse("", "the agent ends"));
      owners ??= await host.owners();
      const peer = options.peer();
      const result = await control.dial(peer, module, {
        digest: options.digest(),
        role: "sink",
        record: { ...hello, owners },
      });
      if (result.kind === "refused") return refuse(result.answer ?? "", result.reason);
      const history = parseHistory(result.reply.record);
      const { session } = result.reply.record;
      if (!history || typeof session !== "string") {
        host.closeLink(result.link);
        return refuse("", `${peer} answered what this version does not understand`);
      }
      feed({ kind: "link", connection: keep(result.link), role: "sink", session, history });
    },
    onHello(hello) {
      if (hello.node !== options.peer()) {
        return { accept: false, reason: `${hello.node} is no node of module ${module}` };
      }
      const said = parseHello(hello.record);
      if (hello.role !== "sink" || !said) {
        return { accept: false, reason: "the hello is none that this version understands" };
      }
      const request = ++requests;
      feed({ kind: "hello", request, digest: hello.digest, hello: said });
      const answer = admissions.get(request);
      admissions.delete(request);
      if (!answer) return { accept: false, code: "busy", reason: `${module} is busy on ${node}` };
      if (!answer.accept) return { accept: false, code: answer.word, reason: answer.reason };
      sessions.set(hello, answer.session);
      warnOfOwners(hello);
      return { accept: true, record: { ...answer.history, session: answer.session } };
    },
    onLink(link, hello) {
      const session = sessions.get(hello);
      if (session === undefined) return host.closeLink(link);
      feed({ kind: "link", connection: keep(link), role: "source", session });
    },
    admit: ({ request, answer }) => void admissions.set(request, answer),
    take,
    discard(connection) {
      const link = take(connection);
      if (link) host.closeLink(link);
    },
    async survey(directories) {
      owners ??= await host.owners();
      inUse = await host.surveyOwners(directories);
    },
  };
}
