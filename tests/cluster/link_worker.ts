/** A data path in miniature: one end of a link in a synchronous loop on a thread of its own. */

import { POLLIN, POLLOUT } from "../../agent/platform/linux/constants.ts";
import { allocate, openLibc } from "../../agent/platform/linux/libc.ts";
import { openChannel } from "../../agent/cluster/channel.ts";
import { pollOne } from "../../agent/cluster/testing.ts";
import type { LinkHandle } from "../../agent/mirror/messages.ts";

export interface Work {
  link: LinkHandle;
  /** sends this many bytes and expects them back, or returns whatever comes until the link ends */
  bytes: number | "echo";
  /** bytes taken in one piece */
  piece: number;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Work>) => void;
  postMessage(value: unknown): void;
};

scope.onmessage = ({ data: { link, bytes, piece } }) => {
  const libc = openLibc();
  const channel = openChannel(libc, link);
  const out = allocate(piece);
  const into = allocate(piece);
  const wait = (events: number) => pollOne(libc, link.fd, events | channel.wants(), 10_000);

  function echo(): string {
    for (;;) {
      const taken = channel.receive(into.address, piece);
      if (taken < 0) return channel.reason();
      if (taken === 0) {
        channel.flush();
        wait(POLLIN);
        continue;
      }
      for (let sent = 0; sent < taken;) {
        const went = channel.send(into.address + sent, taken - sent);
        if (went < 0) return channel.reason();
        sent += went;
        if (sent < taken) wait(POLLOUT);
      }
    }
  }

  function roundTrips(total: number): string {
    for (let i = 0; i < piece; i++) out.bytes[i] = i * 31 + (i >> 8);
    for (let done = 0; done < total; done += piece) {
      out.view.setFloat64(0, done);
      let [sent, read] = [0, 0];
      while (read < piece) {
        const went = sent < piece ? channel.send(out.address + sent, piece - sent) : 0;
        sent += Math.max(went, 0);
        const came = channel.receive(into.address + read, piece - read);
        if (went < 0 || came < 0) return channel.reason();
        read += came;
        channel.flush();
        if (went <= 0 && came === 0) wait(POLLIN | (sent < piece ? POLLOUT : 0));
      }
      for (let i = 0; i < piece; i += i < 64 ? 1 : 61) {
        if (into.bytes[i] !== out.bytes[i]) return `byte ${done + i} differs`;
      }
    }
    return "";
  }

  const result = bytes === "echo" ? echo() : roundTrips(bytes);
  channel.close();
  scope.postMessage(result);
};
