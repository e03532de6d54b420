/** Own addresses that the configuration names and this host does not have. */

import type { ClusterEvent } from "./events.ts";
import { type IpAddress, parseAddress } from "./sockets.ts";

/**
 * Watches the own addresses. The sockets are bound to them in any case and work as soon as they are
 * there, so that this is for the events alone.
 *
 * @param present the host's addresses; replaced in tests
 */
export function watchAddresses(
  own: readonly IpAddress[],
  onEvent: (event: ClusterEvent) => void,
  present: () => string[] = hostAddresses,
): { look(): void } {
  const missing = new Set<string>();
  return {
    look() {
      const there = new Set(present());
      own.forEach(({ text }, network) => {
        // All of 127/8 is every host's own (RFC 1122, 3.2.1.3), whatever its interface lists.
        if (there.has(text) || text.startsWith("127.")) {
          missing.delete(text);
        } else if (!missing.has(text)) {
          missing.add(text);
          onEvent({
            kind: "address-missing",
            level: "warning",
            address: text,
            text: `This host does not have its address ${text} at the moment: network ` +
              `${network + 1} carries nothing.`,
          });
        }
      });
    },
  };
}

function hostAddresses(): string[] {
  return Deno.networkInterfaces()
    .filter(({ address }) => !address.includes("%"))
    .map(({ address }) => parseAddress(address).text);
}
