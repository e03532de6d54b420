/** IP addresses and networks as bytes: parsing, formatting, comparing. Knows no operating system. */

export interface Network {
  family: 4 | 6;
  /** the address itself, 4 or 16 bytes in network order */
  bytes: Uint8Array;
  /** length of the network's prefix in bits */
  prefix: number;
}

/** The bytes of an IPv4 or IPv6 address; undefined where it is none. No zone, no prefix. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    // A leading zero means octal to some programs and nothing to others.
    if (!/^(0|[1-9]\d{0,2})$/.test(parts[i]) || Number(parts[i]) > 255) return undefined;
    bytes[i] = Number(parts[i]);
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const sides = halves.map((half) => half === "" ? [] : half.split(":"));
  const last = sides[sides.length - 1];
  const tail = last[last.length - 1];
  if (tail?.includes(".")) {
    const v4 = parseIpv4(tail);
    if (!v4) return undefined;
    last.splice(-1, 1, hex(v4[0] << 8 | v4[1]), hex(v4[2] << 8 | v4[3]));
  }
  const count = sides[0].length + (sides[1]?.length ?? 0);
  if (halves.length === 2 ? count > 7 : count !== 8) return undefined;
  const groups = [...sides[0], ...Array(8 - count).fill("0"), ...(sides[1] ?? [])];
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 8; i++) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(groups[i])) return undefined;
    const value = parseInt(groups[i], 16);
    bytes[2 * i] = value >> 8;
    bytes[2 * i + 1] = value & 255;
  }
  return bytes;
}

function hex(value: number): string {
  return value.toString(16);
}

/** The usual text of an address; IPv6 as RFC 5952 has it. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => bytes[2 * i] << 8 | bytes[2 * i + 1]);
  let start = -1;
  let length = 1; // a single zero group is not shortened
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
  }
  if (start < 0) return groups.map(hex).join(":");
  const before = groups.slice(0, start).map(hex).join(":");
  return `${before}::${groups.slice(start + length).map(hex).join(":")}`;
}

/** Parses `10.0.0.1/24`; without a prefix the address alone (`/32`, `/128`). */
export function parseNetwork(text: string): Network | undefined {
  const slash = text.indexOf("/");
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!bytes) return undefined;
  const bits = bytes.length * 8;
  const prefixText = slash < 0 ? String(bits) : text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(prefixText) || Number(prefixText) > bits) return undefined;
  return { family: bits === 32 ? 4 : 6, bytes, prefix: Number(prefixText) };
}

/** `10.0.0.1/24` */
export function formatNetwork(network: Network): string {
  return `${formatAddress(network.bytes)}/${network.prefix}`;
}

/** Whether both addresses are the same. */
export function sameAddress(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Whether `address` lies in the network around `network.bytes`. */
export function contains(network: Network, address: Uint8Array): boolean {
  if (address.length !== network.bytes.length) return false;
  for (let bit = 0; bit < network.prefix; bit += 8) {
    const mask = 0xff00 >> Math.min(8, network.prefix - bit) & 0xff;
    if (((address[bit >> 3] ^ network.bytes[bit >> 3]) & mask) !== 0) return false;
  }
  return true;
}

/** `02:00:5e:10:00:01` */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => hex(byte).padStart(2, "0")).join(":");
}
