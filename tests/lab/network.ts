/**
 * The lab's two networks: a switch of its own (namespaces with a bridge per network) and a cable (a
 * veth pair) from it to each host. Faults are made at the switch, where hosts cannot see them,
 * except rejections, which are a host's own firewall.
 */

import { createNamespace, type Namespace } from "./namespace.ts";
import { run } from "./process.ts";

/** Both networks: `net0` is 10.77.0.0/24 and fd77::/64, `net1` is 10.78.0.0/24 and fd78::/64. */
export const networks = ["net0", "net1"] as const;
export type Network = typeof networks[number];

/** A host's network interfaces, one per network. */
export const interfaces: Record<Network, string> = { net0: "eth0", net1: "eth1" };

/** The switch itself answers here, as a router would: for witnesses of kind `ping`. */
export const routerAddresses: Record<Network, string> = {
  net0: "10.77.0.254",
  net1: "10.78.0.254",
};

const prefix: Record<Network, string> = { net0: "10.77.0.", net1: "10.78.0." };
const prefix6: Record<Network, string> = { net0: "fd77::", net1: "fd78::" };

/** The IPv4 address of a host by its number. */
export function addressOf(number: number, network: Network): string {
  return `${prefix[network]}${number}`;
}

/** The IPv6 address of a host by its number: fd77::1 is host 1 on net0. */
export function address6Of(number: number, network: Network): string {
  return `${prefix6[network]}${number}`;
}

export interface DropOptions {
  /** host names; `router` is the switch itself */
  from: string;
  to: string;
  /** default: both networks */
  network?: Network;
  /** only packets to this port; default: everything, ARP too */
  port?: number;
  /** with `port`; default: both */
  protocol?: "tcp" | "udp";
}

/** Something that can be undone. */
export interface Fault {
  undo(): Promise<void>;
}

export interface Switch {
  /** Plugs a host in: interfaces, addresses, routes. */
  connect(host: string, number: number, namespace: Namespace): Promise<void>;
  /** Pulls a host's cables out for good, e.g. because it lost power. */
  disconnect(host: string): Promise<void>;
  /** Sets a host's link down or up; the host sees its carrier go. */
  setLink(host: string, network: Network, up: boolean): Promise<void>;
  /** Drops packets one way. */
  drop(options: DropOptions): Promise<Fault>;
  /** Limits the bandwidth from and to a host, e.g. `10mbit`; null lifts the limit. */
  limit(host: string, namespace: Namespace, network: Network, rate: string | null): Promise<void>;
  /** Ends the switch; settles when it is gone. */
  close(): Promise<void>;
}

function port(host: string, network: Network): string {
  return `${host}.${network.at(-1)}`;
}

/** Makes the switch. Host names may have at most 13 characters (IFNAMSIZ in linux/if.h). */
export async function createSwitch(labDirectory: string): Promise<Switch> {
  const namespace = await createNamespace(labDirectory, "ip link set lo up", []);
  const ip = (lines: string[]) =>
    run([...namespace.enterNetwork], ["ip", "-batch", "-"], { stdin: lines.join("\n") });
  const nft = (...args: string[]) => run(namespace.enterNetwork, ["nft", ...args]);

  await ip(networks.flatMap((network) => [
    // No spanning tree, no delay: a port forwards as soon as it is up.
    `link add ${network} type bridge forward_delay 0`,
    `addr add ${routerAddresses[network]}/24 dev ${network}`,
    `link set ${network} up`,
  ]));
  await nft(
    "table bridge lab { chain forward { type filter hook forward priority 0; }; " +
      "chain input { type filter hook input priority 0; }; " +
      "chain output { type filter hook output priority 0; }; }",
  );

  return {
    async connect(host, number, target) {
      await ip(networks.flatMap((network) => [
        `link add ${port(host, network)} type veth peer name ${
          interfaces[network]
        } netns ${target.pid}`,
        `link set ${port(host, network)} master ${network} up`,
      ]));
      await run(target.enterNetwork, ["ip", "-batch", "-"], {
        stdin: ["link set lo up"].concat(networks.flatMap((network) => [
          `addr add ${addressOf(number, network)}/24 dev ${interfaces[network]}`,
          `addr add ${address6Of(number, network)}/64 dev ${interfaces[network]} nodad`,
          `link set ${interfaces[network]} up`,
        ])).join("\n"),
      });
    },
    async disconnect(host) {
      // One by one: a cable may have gone with the host's namespace already.
      for (const network of networks) {
        const command = ["ip", "link", "delete", port(host, network)];
        await run(namespace.enterNetwork, command, { check: false });
      }
    },
    async setLink(host, network, up) {
      await ip([`link set ${port(host, network)} ${up ? "up" : "down"}`]);
    },
    async drop({ from, to, network, port: number, protocol }) {
      const chain = from === "router" ? "output" : to === "router" ? "input" : "forward";
      const match = number === undefined ? [] : [
        ...(protocol === undefined
          ? ["meta", "l4proto", "{ tcp, udp }"]
          : ["meta", "l4proto", protocol]),
        ...["th", "dport", String(number)],
      ];
      const handles: string[] = [];
      for (const each of network === undefined ? networks : [network]) {
        const incoming = from === "router" ? [] : ["iifname", `"${port(from, each)}"`];
        const outgoing = to === "router" ? [] : ["oifname", `"${port(to, each)}"`];
        const rule = [...incoming, ...outgoing, ...match, "drop"];
        const { stdout } = await nft("-e", "-a", "add", "rule", "bridge", "lab", chain, ...rule);
        const handle = /# handle (\d+)/.exec(stdout)?.[1];
        if (handle === undefined) throw new Error(`nft gave no handle: ${stdout}`);
        handles.push(handle);
      }
      return {
        async undo() {
          for (const handle of handles.splice(0)) {
            await nft("delete", "rule", "bridge", "lab", chain, "handle", handle);
          }
        },
      };
    },
    async limit(host, target, network, rate) {
      const ends = [[namespace, port(host, network)], [target, interfaces[network]]] as const;
      for (const [end, device] of ends) {
        const tc = ["tc", "qdisc"];
        const shape = ["root", "tbf", "rate", rate ?? "", "burst", "64kb", "latency", "100ms"];
        if (rate === null) {
          await run(end.enterNetwork, [...tc, "del", "dev", device, "root"], { check: false });
        } else await run(end.enterNetwork, [...tc, "replace", "dev", device, ...shape]);
      }
    },
    async close() {
      namespace.kill();
      await namespace.ended;
    },
  };
}

/** Lets a host's own firewall refuse connections to a port: a TCP reset or an ICMP error. */
export async function reject(
  namespace: Namespace,
  number: number,
  protocol: "tcp" | "udp",
): Promise<Fault> {
  const nft = (...args: string[]) => run(namespace.enterNetwork, ["nft", ...args]);
  await nft("add", "table", "inet", "lab");
  await nft("add", "chain", "inet", "lab", "input", "{ type filter hook input priority 0; }");
  const how = protocol === "tcp" ? ["reject", "with", "tcp", "reset"] : ["reject"];
  const rule = [protocol, "dport", String(number), ...how];
  const { stdout } = await nft("-e", "-a", "add", "rule", "inet", "lab", "input", ...rule);
  const handle = /# handle (\d+)/.exec(stdout)?.[1] ?? "";
  return {
    async undo() {
      await nft("delete", "rule", "inet", "lab", "input", "handle", handle);
    },
  };
}
