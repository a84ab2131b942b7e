/** A server behind a gateway process of its own: for the suite as a client a token injector stands in front, since it has no token to send. */
import { rmSync } from "node:fs";
import { GatewayProcess } from "../e2e/gateway-process.ts";
import { headerIn, type Pairs, type Relay, type RelayOptions, startRelay } from "./relay.ts";
import { type Control, towardsGateway, towardsServer } from "./saboteur.ts";

const SERVER = "conformance";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - name: the-suite-may-do-all
    permit: ["${SERVER}/*", "resource:${SERVER}/*", "prompt:${SERVER}/*", "method:${SERVER}/*"]
`;

export type Through = { readonly url: string; close(): Promise<void> };
export type Governed = Through & { readonly accessToken: string };

/** For a client that sends its token itself. */
export async function startGoverned(serverUrl: string, control: Control | null = null): Promise<Governed> {
  const before = await startSaboteur(towardsServer(control), serverUrl);
  const gateway = await prepareGateway(serverUrl, before);
  await gateway.serve();
  return { url: `${gateway.publicUrl}/mcp/${SERVER}`, accessToken: await admitted(gateway), close: () => closeAll(gateway, [before]) };
}

/**
 * The injector's address is the gateway's public URL. So the Host that a client means arrives at the gateway unchanged, a foreign one too,
 * and it is the gateway that must know it: what the DNS rebinding scenario asks of the fixture, it asks of the gateway.
 */
export async function startThrough(fixtureUrl: string, control: Control | null = null): Promise<Through> {
  let behindInjector = "";
  let accessToken: string | null = null;
  const injector = await startRelay({ target: () => behindInjector, onRequest: (pairs) => withToken(pairs, accessToken) });
  const beforeFixture = await startSaboteur(towardsServer(control), fixtureUrl);
  const gateway = await prepareGateway(fixtureUrl, beforeFixture, injector.port);
  const beforeGateway = await startSaboteur(towardsGateway(control, gateway.publicUrl), gateway.listenUrl);
  behindInjector = beforeGateway?.url ?? gateway.listenUrl;
  await gateway.serve();
  accessToken = await admitted(gateway);
  return { url: `${gateway.publicUrl}/mcp/${SERVER}`, close: () => closeAll(gateway, [injector, beforeGateway, beforeFixture]) };
}

function prepareGateway(serverUrl: string, before: Relay | null, publicPort?: number): Promise<GatewayProcess> {
  const { origin, pathname } = new URL(serverUrl);
  const setup = { policies: POLICIES, servers: `  ${SERVER}: { url: "${before?.url ?? origin}${pathname}" }` };
  return GatewayProcess.prepare(publicPort === undefined ? setup : { ...setup, publicPort });
}

async function admitted(gateway: GatewayProcess): Promise<string> {
  return gateway.accessToken(await gateway.createAgent("conformance"), SERVER);
}

async function closeAll(gateway: GatewayProcess, relays: readonly (Relay | null)[]): Promise<void> {
  await gateway.stop();
  for (const relay of relays) await relay?.close();
  rmSync(gateway.folder, { recursive: true, force: true });
}

async function startSaboteur(options: Omit<RelayOptions, "target"> | null, target: string): Promise<Relay | null> {
  return options === null ? null : await startRelay({ ...options, target: () => target });
}

function withToken(pairs: Pairs, accessToken: string | null): Pairs {
  if (accessToken === null || headerIn(pairs, "authorization") !== undefined) return pairs;
  return [...pairs, "Authorization", `Bearer ${accessToken}`];
}
