/** Negative controls: proxies that do beside a gateway what a bad gateway would do, so that a comparison can be seen to fail. */
import type { Mode } from "./baseline.ts";
import { headerIn, type Pairs, type RelayOptions, withoutHeaders } from "./relay.ts";

/** `drop-name` and `buffer` stand between gateway and server, `foreign-host` between injector and gateway. */
export const CONTROLS = ["drop-name", "buffer", "foreign-host"] as const;
export type Control = (typeof CONTROLS)[number];

export function isControl(text: string): text is Control {
  return CONTROLS.some((control) => control === text);
}

/** A client that the suite starts means no foreign Host. */
export function canFail(mode: Mode, control: Control | null): boolean {
  return mode === "server" || control !== "foreign-host";
}

/** What the saboteur before the server does; null: there is none. */
export function towardsServer(control: Control | null): Omit<RelayOptions, "target"> | null {
  if (control === "drop-name") return { onRequest: (pairs) => withoutHeaders(pairs, "mcp-name") };
  return control === "buffer" ? { buffers: true } : null;
}

/** What the saboteur before the gateway does; null: there is none. */
export function towardsGateway(control: Control | null, publicUrl: string): Omit<RelayOptions, "target"> | null {
  return control === "foreign-host" ? { onRequest: (pairs) => asOwn(pairs, new URL(publicUrl)) } : null;
}

/** A gateway that takes any Host takes any Origin as well: else the Origin alone would give the page away. */
function asOwn(pairs: Pairs, { host, origin }: URL): Pairs {
  const said = headerIn(pairs, "origin");
  return [...withoutHeaders(pairs, "host", "origin"), "Host", host, ...(said === undefined ? [] : ["Origin", origin])];
}
