import assert from "node:assert/strict";
import { formatMac, formatNetwork, parseNetwork } from "../ip.ts";
import { Errno, O } from "./constants.ts";
import { SystemError } from "./errno.ts";
import { openLibc, withStrings } from "./libc.ts";
import { listAddresses, listLinks } from "./netlink.ts";
import type { AddressInfo, LinkInfo } from "./rtnetlink.ts";
import { eventually, rootTest } from "./testing.ts";
import {
  addVip,
  announceVip,
  describeVip,
  findVip,
  hasVip,
  placeVip,
  probeVip,
  removeVip,
  VipError,
} from "./vip.ts";

const libc = openLibc();
const needs = {
  programs: ["ip", "unshare", "nsenter"],
  capabilities: ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"] as const,
};

/** A network namespace, kept alive by a process. */
interface Host {
  pid: number;
  /** runs a command inside and returns its output */
  run(command: string): Promise<string>;
  stop(): Promise<void>;
}

async function startHost(): Promise<Host> {
  const child = new Deno.Command("unshare", {
    args: ["--net", "sh", "-c", "ip link set lo up; echo ready; exec cat"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  return {
    pid: child.pid,
    async run(command) {
      const args = ["-t", String(child.pid), "-n", "sh", "-ec", command];
      const result = await new Deno.Command("nsenter", { args, stderr: "inherit" }).output();
      assert.ok(result.success, command);
      return new TextDecoder().decode(result.stdout);
    },
    async stop() {
      await child.stdin.close();
      await reader.cancel();
      await child.status;
    },
  };
}

/** Moves this thread to the network namespace of a process. */
function enter(path: string) {
  const fd = withStrings([path], ([p]) => libc.sys.open(p, O.RDONLY | O.CLOEXEC, 0));
  assert.ok(fd >= 0, path);
  assert.equal(libc.sys.setns(fd, 0x40000000), 0); // CLONE_NEWNET
  return fd;
}

/** Two hosts with one cable between them; this thread is on `alpha` while the test runs. */
async function withHosts(test: (alpha: Host, beta: Host) => Promise<void>) {
  const home = withStrings(
    ["/proc/self/ns/net"],
    ([path]) => libc.sys.open(path, O.RDONLY | O.CLOEXEC, 0),
  );
  const hosts = [await startHost(), await startHost()];
  const [alpha, beta] = hosts;
  let inside = -1;
  try {
    await alpha.run(`ip link add eth7 type veth peer name eth7 netns ${beta.pid}`);
    for (const [i, host] of hosts.entries()) {
      await host.run(`
        echo 0 > /proc/sys/net/ipv6/conf/eth7/accept_dad
        ip link set eth7 address 02:00:00:00:00:0${i + 1} up
        ip address add 10.77.0.${i + 1}/24 dev eth7
        ip address add fd00:77::${i + 1}/64 dev eth7 nodad
      `);
    }
    inside = enter(`/proc/${alpha.pid}/ns/net`);
    await eventually(
      "the link",
      () => listLinks(libc).find(({ name, flags }) => name === "eth7" && (flags & 0x10000) !== 0),
    );
    await test(alpha, beta);
  } finally {
    libc.sys.setns(home, 0x40000000);
    libc.sys.close(home);
    if (inside >= 0) libc.sys.close(inside);
    for (const host of hosts) await host.stop();
  }
}

rootTest("vip: interfaces and addresses are listed", needs, () =>
  withHosts(async (alpha) => {
    const link = listLinks(libc).find(({ name }) => name === "eth7")!;
    assert.equal(formatMac(link.mac), "02:00:00:00:00:01");
    assert.equal(link.mtu, 1500);
    const mine = listAddresses(libc).filter(({ index }) => index === link.index).map(formatNetwork);
    assert.ok(mine.includes("10.77.0.1/24") && mine.includes("fd00:77::1/64"), mine.join());
    assert.match(await alpha.run("ip -o address show dev eth7"), /10\.77\.0\.1\/24/);
  }));

rootTest("vip: many interfaces are listed whole", needs, () =>
  withHosts(async (alpha) => {
    const commands = Array.from({ length: 60 }, (_, i) => `
      link add d${i} type veth peer name p${i}
      address add 10.9.${i}.1/24 dev d${i}`);
    await alpha.run(`ip -batch - <<'END'${commands.join("")}\nEND`);
    assert.equal(listLinks(libc).filter(({ name }) => /^[dp]\d+$/.test(name)).length, 120);
    const addresses = listAddresses(libc).map(formatNetwork);
    assert.equal(addresses.filter((text) => text.startsWith("10.9.")).length, 60);
  }));

for (const address of ["10.77.0.100/24", "fd00:77::100/64"]) {
  const family = address.includes(":") ? "IPv6" : "IPv4";

  rootTest(
    `vip: an ${family} address is taken once and given up once`,
    needs,
    () =>
      withHosts(async (alpha) => {
        const vip = findVip(libc, address);
        assert.equal(vip.link.name, "eth7");
        assert.equal(hasVip(libc, vip.network), false);
        assert.equal(addVip(libc, vip), true);
        assert.equal(addVip(libc, vip), false);
        assert.equal(hasVip(libc, vip.network), true);
        const shown = await alpha.run("ip address show dev eth7");
        assert.ok(shown.includes(`${address} `), shown);
        if (family === "IPv4") assert.ok(shown.includes(`${address} brd 10.77.0.255`), shown);
        else {
          assert.match(shown, /fd00:77::100\/64 scope global (nodad deprecated|deprecated nodad)/);
          assert.doesNotMatch(shown, /::100.*tentative/);
          const route = await alpha.run("ip route get fd00:77::2");
          assert.match(route, /src fd00:77::1 /, "its own address stays the source");
        }
        assert.equal(removeVip(libc, vip.network), true);
        assert.equal(removeVip(libc, vip.network), false);
        assert.equal(hasVip(libc, vip.network), false);
      }),
  );

  rootTest(
    `vip: an announcement moves an ${family} address in the neighbours' tables`,
    needs,
    () =>
      withHosts(async (_, beta) => {
        const vip = findVip(libc, address);
        const ip = address.split("/")[0];
        // beta believes that the address is somewhere else
        await beta.run(
          `ip neighbour replace ${ip} lladdr 02:00:00:00:00:99 dev eth7 nud reachable`,
        );
        addVip(libc, vip);
        // As in the product the announcement is repeated: the neighbour may not listen yet.
        await eventually("the neighbour's new entry", async () => {
          assert.equal(announceVip(libc, vip), true);
          return /02:00:00:00:00:01/.test(await beta.run(`ip neighbour show ${ip} dev eth7`));
        });
      }),
  );

  rootTest(
    `vip: whoever has the ${family} address answers the probe`,
    needs,
    () =>
      withHosts(async (_, beta) => {
        const vip = findVip(libc, address);
        const quick = { probes: 2, interval: 60 };
        assert.deepEqual(await probeVip(libc, vip, quick), []);
        await beta.run(`ip address add ${address} dev eth7 ${family === "IPv6" ? "nodad" : ""}`);
        const answers = await eventually("an answer", async () => {
          const answers = await probeVip(libc, vip, quick);
          return answers.length > 0 && answers;
        });
        assert.deepEqual(answers, ["02:00:00:00:00:02"]);
        // our own address is no stranger's
        addVip(libc, vip);
        await beta.run(`ip address del ${address} dev eth7`);
        assert.deepEqual(await probeVip(libc, vip, quick), []);
      }),
  );
}

rootTest("vip: a probe that is aborted ends", needs, () =>
  withHosts(async () => {
    const vip = findVip(libc, "10.77.0.100/24");
    const abort = new AbortController();
    const probe = probeVip(libc, vip, { interval: 60_000, signal: abort.signal });
    abort.abort(new Error("enough"));
    await assert.rejects(probe, /enough/);
  }));

rootTest(
  "vip: an interface that is down is said to be so",
  needs,
  () =>
    withHosts(async (alpha) => {
      const vip = findVip(libc, "10.77.0.100/24");
      await alpha.run("ip link set eth7 down");
      assert.throws(
        () => announceVip(libc, vip),
        (error) => error instanceof SystemError && error.errno === Errno.ENETDOWN,
      );
      await assert.rejects(probeVip(libc, vip), /Set the interface up/);
    }),
);

rootTest("vip: loopback has no neighbours to tell or to ask", needs, () =>
  withHosts(async () => {
    const vip = findVip(libc, "10.99.0.1/32", "lo");
    assert.equal(announceVip(libc, vip), false);
    assert.deepEqual(await probeVip(libc, vip), []);
    assert.equal(addVip(libc, vip), true);
    assert.equal(removeVip(libc, vip.network), true);
  }));

rootTest("vip: what the kernel refuses is explained", needs, () =>
  withHosts(async (alpha) => {
    await alpha.run("echo 1 > /proc/sys/net/ipv6/conf/eth7/disable_ipv6");
    const vip = findVip(libc, "fd00:88::1/64", "eth7");
    assert.throws(
      () => addVip(libc, vip),
      (error) =>
        error instanceof VipError && /IPv6 is disabled on the interface$/.test(error.message),
    );
    const gone = {
      ...vip,
      network: parseNetwork("10.0.0.1/8")!,
      link: { ...vip.link, index: 999 },
    };
    assert.throws(() => addVip(libc, gone), /the interface is gone/);
  }));

const link = (index: number, name: string, flags = 1): LinkInfo => ({
  index,
  name,
  mac: new Uint8Array(6),
  type: 1,
  flags,
  mtu: 1500,
});
const at = (index: number, text: string): AddressInfo => ({
  ...parseNetwork(text)!,
  index,
  flags: 0,
});

Deno.test("vip: the interface is found by the narrowest network around the address", () => {
  const links = [link(1, "lo", 9), link(2, "eth0"), link(3, "eth1")];
  const addresses = [at(1, "10.0.0.1/8"), at(2, "10.77.0.1/16"), at(3, "10.77.5.1/24")];
  const place = (text: string, name?: string) =>
    describeVip(placeVip(parseNetwork(text)!, name, links, addresses));
  assert.equal(place("10.77.0.100/24"), "10.77.0.100 on eth0");
  assert.equal(place("10.77.5.100/32"), "10.77.5.100 on eth1");
  assert.equal(place("10.77.5.100/24", "eth0"), "10.77.5.100 on eth0");
  assert.throws(() => place("192.168.1.1/24"), /name one with `interface`$/);
  assert.throws(() => place("10.9.0.1/24"), VipError, "loopback does not count");
  assert.throws(() => place("10.77.0.100/24", "eth9"), /this node has lo, eth0, eth1$/);
});

Deno.test("vip: an address that is there already, alone in its network, stays where it is", () => {
  const links = [link(2, "eth0")];
  const addresses = [at(2, "10.88.0.100/24")];
  assert.equal(
    placeVip(parseNetwork("10.88.0.100/24")!, undefined, links, addresses).link.index,
    2,
  );
});
