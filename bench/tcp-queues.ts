/** Bytes that the kernel holds for one TCP connection over IPv4 on this machine, from Linux's /proc/net/tcp; null elsewhere. */
import { existsSync, readFileSync } from "node:fs";

export type Queues = {
  /** Sent by the end at `localPort` and not yet acknowledged. */
  readonly unsent: number;
  /** Received by it and not yet read. */
  readonly unread: number;
};

export function queuesOf(localPort: number, remotePort: number): Queues | null {
  if (!existsSync("/proc/net/tcp")) return null;
  const [local, remote] = [hexOf(localPort), hexOf(remotePort)];
  for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n")) {
    // proc_net_tcp: sl, local address, remote address, state, tx_queue:rx_queue
    const [, from, to, , queues] = line.trim().split(/\s+/);
    if (from?.split(":")[1] !== local || to?.split(":")[1] !== remote) continue;
    const [unsent = "0", unread = "0"] = queues?.split(":") ?? [];
    return { unsent: Number.parseInt(unsent, 16), unread: Number.parseInt(unread, 16) };
  }
  throw new Error(`there is no connection from ${localPort} to ${remotePort}`);
}

function hexOf(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}
