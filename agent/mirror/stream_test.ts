import assert from "node:assert/strict";
import fc from "fast-check";
import { F, headerSize, maxFrame, Op, seqOf } from "./frames.ts";
import { createStats } from "./stats.ts";
import {
  acknowledge,
  begin,
  commit,
  createStream,
  failHeld,
  hold,
  release,
  reserve,
  resetStream,
  rewind,
  type Stream,
  unacked,
  unsent,
} from "./stream.ts";

const small = 4 * maxFrame;

function make(): Stream {
  const s = createStream(small, true, new Float64Array(createStats()));
  resetStream(s, 7);
  return s;
}

/** Puts a frame in whose payload says its own number and length. */
function put(s: Stream, payload: number): number | undefined {
  if (!reserve(s, maxFrame + 65536)) return undefined;
  const at = begin(s, Op.write, 1, payload);
  s.memory.bytes.fill((s.lastSeq + 1) & 0xff, at + headerSize, at + headerSize + payload);
  return commit(s, at);
}

/** Takes what may be sent, in pieces, as a socket would. */
function take(s: Stream, most: number, into: { seq: number; payload: number; fill: number }[]) {
  const n = Math.min(most, unsent(s));
  // Whole frames only: the test's socket takes no part of a frame.
  let at = s.sendAt;
  const end = at + n;
  while (at < end && at + s.words[at >>> 2] <= end) {
    into.push({
      seq: seqOf(s.words, at),
      payload: s.words[at >>> 2] - headerSize,
      fill: s.memory.bytes[at + headerSize],
    });
    at += s.words[at >>> 2];
  }
  s.sendAt = at;
}

Deno.test("What is put into the ring leaves it once, in order and unharmed, whatever the sizes", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("put" as const), size: fc.integer({ min: 0, max: 1 << 20 }) }),
    fc.record({ kind: fc.constant("put" as const), size: fc.integer({ min: 0, max: 200 }) }),
    fc.record({ kind: fc.constant("send" as const), size: fc.integer({ min: 0, max: 3 << 20 }) }),
    fc.record({ kind: fc.constant("ack" as const), size: fc.integer({ min: 0, max: 100 }) }),
    fc.record({ kind: fc.constant("resume" as const), size: fc.integer({ min: 0, max: 3 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const s = make();
      const sizes: number[] = [];
      const sent: { seq: number; payload: number; fill: number }[] = [];
      for (const { kind, size } of steps) {
        if (kind === "put") {
          const seq = put(s, size);
          if (seq !== undefined) sizes[seq] = (headerSize + size + 7) & ~7;
        } else if (kind === "send") {
          take(s, size, sent);
          if (unsent(s) > 0) take(s, size, sent);
        } else if (kind === "ack") {
          const last = sent.at(-1)?.seq ?? 0;
          acknowledge(s, Math.min(last, s.ackedSeq + size));
        } else {
          // The link broke: the sink has applied some of what was sent.
          const last = sent.at(-1)?.seq ?? 0;
          const applied = Math.min(last, s.ackedSeq + size);
          assert.ok(rewind(s, applied));
          while (sent.length > 0 && sent.at(-1)!.seq > applied) sent.pop();
        }
        assert.ok(unacked(s) <= s.size);
      }
      for (let i = 0; i < 3; i++) take(s, s.size, sent);
      sent.forEach((frame, i) => {
        assert.equal(frame.seq, i + 1);
        assert.equal(frame.payload + headerSize, sizes[frame.seq]);
        if (frame.payload > 8) assert.equal(frame.fill, frame.seq & 0xff);
      });
      assert.equal(sent.length, s.lastSeq);
      acknowledge(s, s.lastSeq);
      assert.equal(unacked(s), 0);
    }),
    { numRuns: 60 },
  );
});

Deno.test("A full ring takes no request until acknowledgements have made room", () => {
  const s = make();
  let count = 0;
  while (put(s, 1 << 20) !== undefined) count++;
  assert.ok(count >= 2);
  const sent: { seq: number; payload: number; fill: number }[] = [];
  take(s, s.size, sent);
  acknowledge(s, 1);
  acknowledge(s, 2);
  assert.notEqual(put(s, 1 << 20), undefined);
});

Deno.test("An acknowledgement of what was never sent is a fault of the peer", () => {
  const s = make();
  put(s, 10);
  assert.throws(() => acknowledge(s, 2), /acknowledges 2/);
});

Deno.test("Held replies go out in their order, each not before its frame is acknowledged", () => {
  const s = make();
  const reply = new Uint8Array(32);
  for (let i = 1; i <= 5; i++) {
    put(s, 8);
    reply[16] = i;
    hold(s, 0, reply, 32, i);
  }
  const out: number[] = [];
  const send = (_: number, address: number) => {
    out.push(s.replies.bytes[address - s.replies.address + 16]);
  };
  release(s, 0, send);
  assert.deepEqual(out, []);
  release(s, 3, send);
  assert.deepEqual(out, [1, 2, 3]);
  release(s, 5, send);
  assert.deepEqual(out, [1, 2, 3, 4, 5]);
});

Deno.test("A stop turns held replies into errors, never into successes", () => {
  const s = make();
  put(s, 8);
  hold(s, 0, new Uint8Array(64), 64, 1);
  let seen: [number, number, number] | undefined;
  failHeld(s, 5, (_, address, length) => {
    const at = address - s.replies.address;
    seen = [length, s.replies.view.getUint32(at, true), s.replies.view.getInt32(at + 4, true)];
  });
  assert.deepEqual(seen, [16, 16, -5]);
});

Deno.test("Only what is still kept can be sent again", () => {
  const s = make();
  for (let i = 0; i < 4; i++) put(s, 100);
  const sent: { seq: number; payload: number; fill: number }[] = [];
  take(s, s.size, sent);
  acknowledge(s, 2);
  assert.equal(rewind(s, 1), false);
  assert.equal(rewind(s, 9), false);
  assert.equal(rewind(s, 3), true);
  sent.length = 0;
  take(s, s.size, sent);
  assert.deepEqual(sent.map((f) => f.seq), [4]);
  assert.equal(s.words[(s.head + F.op) >>> 2] & 0xffff, Op.write);
});
