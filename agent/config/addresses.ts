/** IP addresses, endpoints and virtual addresses as kinds of values. */
import { isIP } from "node:net";
import type { Kind, Read } from "./values.ts";

const no = (hint?: string): { hint: string | undefined } => ({ hint });

/** The one way to write an address, so that two spellings of it compare as equal. */
export function canonicalAddress(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

/** The address as a number, of 32 or 128 bits. */
export function addressBits(address: string): bigint {
  if (isIP(address) === 4) {
    return address.split(".").reduce((bits, part) => (bits << 8n) | BigInt(part), 0n);
  }
  const [head, tail] = canonicalAddress(address).split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const middle = Array(tail === undefined ? 0 : 8 - left.length - right.length).fill("0");
  return [...left, ...middle, ...right]
    .reduce((bits, part) => (bits << 16n) | BigInt(`0x${part}`), 0n);
}

/** Why an address cannot be the address of a host, or undefined. */
function unusable(address: string): string | undefined {
  const bits = addressBits(address);
  if (isIP(address) === 4) {
    if (bits >> 24n === 0n) return `${address} is no host's address`;
    if (bits >> 28n === 0xen) return "it is a multicast address";
    if (bits >> 28n === 0xfn) return `${address} is no host's address`;
  } else {
    if (bits === 0n) return `${address} is no host's address`;
    if (bits >> 120n === 0xffn) return "it is a multicast address";
    if (bits >> 32n === 0xffffn) {
      return `write it as IPv4: "${[24n, 16n, 8n, 0n].map((n) => (bits >> n) & 255n).join(".")}"`;
    }
    if (bits >> 118n === 0x3fan) {
      return "a link-local address means nothing without an interface: use a global or a unique " +
        "local one (fd00::/8)";
    }
  }
  return undefined;
}

/** The address of a host, in its canonical form. */
export const address: Kind<string> = {
  expected: 'an IPv4 or IPv6 address such as "10.77.0.1" or "fd00::1"',
  json: { type: "string", anyOf: [{ format: "ipv4" }, { format: "ipv6" }] },
  read: (value) => {
    if (typeof value !== "string") return no();
    if (isIP(value) === 0) return no(addressHint(value));
    if (value.includes("%")) return no("leave out the interface after %");
    const why = unusable(value);
    return why === undefined ? { value: canonicalAddress(value) } : no(why);
  },
};

function addressHint(value: string): string | undefined {
  const slash = /^([^/]+)\/\d+$/.exec(value);
  if (slash && isIP(slash[1])) return `leave out the prefix length: "${slash[1]}"`;
  const port = /^\[?([^\]]+?)\]?:\d+$/.exec(value);
  if (port && isIP(port[1])) return `leave out the port: "${port[1]}"`;
  if (value.trim() !== value && isIP(value.trim())) return "leave out the blanks around it";
  const plain = value.replace(/\b0+(?=\d)/g, "");
  if (/^[\d.]+$/.test(value) && isIP(plain)) return `write it without leading zeros: "${plain}"`;
  if (/^[A-Za-z]/.test(value) && isHostName(value)) {
    return "host names are not looked up: a name service that fails must not fail the cluster";
  }
  return undefined;
}

/** RFC 1123, plus the underscore. */
export function isHostName(value: string): boolean {
  return value.length <= 253 &&
    value.split(".").every((label) =>
      /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label)
    ) && !/^[\d.]+$/.test(value);
}

/** `host:port`; IPv6 in brackets. */
export interface HostPort {
  host: string;
  port: number;
}

/** Splits `host:port` as {@link hostPort} accepts it. */
export function splitHostPort(value: string): HostPort {
  const at = value.lastIndexOf(":");
  return { host: value.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(value.slice(at + 1)) };
}

/** The canonical `host:port`. */
export function joinHostPort({ host, port }: HostPort): string {
  return isIP(host) === 6 ? `[${canonicalAddress(host)}]:${port}` : `${host}:${port}`;
}

/** `host:port`, where the host is an address or a host name. */
export function hostPort(example: string): Kind<string> {
  return {
    expected: `host:port such as "${example}"`,
    json: { type: "string", pattern: "^(\\[[^\\]]+\\]|[^:]+):[0-9]+$" },
    read: (value) => typeof value === "string" ? readHostPort(value, example) : no(),
  };
}

function readHostPort(value: string, example: string): Read<string> {
  const usual = splitHostPort(example).port;
  if (/^[a-z]+:\/\//i.test(value)) {
    return no(`leave out "${value.slice(0, value.indexOf("//") + 2)}"`);
  }
  if (isIP(value) === 6) return no(`add the port: "[${value}]:${usual}"`);
  if (isIP(value) || isHostName(value)) return no(`add the port: "${value}:${usual}"`);
  const match = /^(\[([^\]]*)\]|[^:]*):(\d{1,10})$/.exec(value);
  if (!match) {
    const bare = value.replace(/:\d+$/, "");
    return no(isIP(bare) === 6 ? "an IPv6 address stands in brackets before its port" : undefined);
  }
  const [, whole, inBrackets, digits] = match;
  const host = inBrackets ?? whole;
  if (Number(digits) < 1 || Number(digits) > 65535) return no("a port is from 1 to 65535");
  if (inBrackets !== undefined && isIP(host) !== 6) return no("only IPv6 addresses take brackets");
  if (host === "") return no(`every address of this machine is "0.0.0.0:${digits}"`);
  if (host.includes("%")) return no("leave out the interface after %");
  if (!isIP(host) && !isHostName(host)) return no(`"${host}" is no address and no host name`);
  return { value: joinHostPort({ host, port: Number(digits) }) };
}

/** A host without a port: an address or a host name. */
export const host: Kind<string> = {
  expected: 'an address or a host name such as "10.77.0.254"',
  json: { type: "string" },
  read: (value) => {
    if (typeof value !== "string") return no();
    if (isIP(value)) {
      const why = value.includes("%") ? "leave out the interface after %" : unusable(value);
      return why === undefined ? { value: canonicalAddress(value) } : no(why);
    }
    if (isHostName(value)) return { value };
    return no(/^[^:]+:\d+$/.test(value) ? "leave out the port" : undefined);
  },
};

/** An etcd endpoint: `host:port`, or a URL of http or https. */
export const etcdEndpoint: Kind<string> = {
  expected: 'host:port or a URL such as "https://10.77.0.9:2379"',
  json: { type: "string" },
  read: (value) => {
    if (typeof value !== "string") return no();
    const scheme = /^(https?):\/\/(.*?)\/?$/.exec(value);
    const read = readHostPort(scheme ? scheme[2] : value, "10.77.0.9:2379");
    return scheme && "value" in read ? { value: `${scheme[1]}://${read.value}` } : read;
  },
};

/** A virtual address with its prefix length, in canonical form. */
export const virtualAddress: Kind<string> = {
  expected: 'an address with its prefix length such as "10.77.0.100/24"',
  json: { type: "string", pattern: "^[0-9A-Fa-f:.]+/[0-9]{1,3}$" },
  read: (value) => {
    if (typeof value !== "string") return no();
    const [ip, digits, ...more] = value.split("/");
    const family = isIP(ip);
    if (family === 0 || more.length > 0 || ip.includes("%")) return no();
    const width = family === 4 ? 32 : 128;
    if (digits === undefined) {
      return no(`add the network's prefix length, as in "${ip}/${family === 4 ? 24 : 64}"`);
    }
    if (/^255\./.test(digits)) {
      return no("write the netmask as a prefix length: 255.255.255.0 is 24");
    }
    if (!/^\d{1,3}$/.test(digits) || Number(digits) < 1 || Number(digits) > width) {
      return no(`an IPv${family} prefix length is from 1 to ${width}`);
    }
    const why = unusable(ip) ?? reserved(ip, Number(digits), width);
    return why === undefined ? { value: `${canonicalAddress(ip)}/${Number(digits)}` } : no(why);
  },
};

/** Whether the address is the network's own or its broadcast address (none in a /31, RFC 3021). */
function reserved(ip: string, prefix: number, width: number): string | undefined {
  if (prefix >= width - 1) return undefined;
  const hostMask = (1n << BigInt(width - prefix)) - 1n;
  const hostPart = addressBits(ip) & hostMask;
  if (hostPart === 0n) return `${ip} is the address of the network itself, not of a host in it`;
  if (width === 32 && hostPart === hostMask) return `${ip} is the network's broadcast address`;
  return undefined;
}
