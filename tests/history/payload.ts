/** What a history writes: bytes that tell who wrote them. */

/**
 * The bytes that operation `index` of a process writes at an offset: each 8 bytes tell the process,
 * the operation and their own place in the file.
 */
export function payload(process: number, index: number, offset: number, length: number) {
  const first = Math.floor(offset / 8);
  const last = Math.ceil((offset + length) / 8);
  const words = new Uint32Array(2 * (last - first));
  const tag = ((process << 24) | index) >>> 0;
  for (let i = 0; i < words.length; i += 2) {
    words[i] = tag;
    words[i + 1] = first + i / 2 + 1;
  }
  return new Uint8Array(words.buffer, offset - first * 8, length);
}

/** The operation whose bytes lie at an offset, as `payload` wrote them; for messages. */
export function writerOf(content: Uint8Array, offset: number): string {
  const at = Math.floor(offset / 8) * 8;
  if (at + 8 > content.length) return "unknown bytes";
  const view = new DataView(content.buffer, content.byteOffset + at, 8);
  const [tag, place] = [view.getUint32(0, true), view.getUint32(4, true)];
  if (tag === 0 && place === 0) return "zeros";
  if (place !== at / 8 + 1) return "unknown bytes";
  return `data of operation ${tag & 0xffffff} of process ${tag >>> 24}`;
}

/** The content of a mark: its value as 8 bytes, little-endian. */
export function markBytes(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}
