/** The fixture behind a gateway process of its own, with a token injector in front: the suite has no token to send. */
import { rmSync } from "node:fs";
import { type Credentials, GatewayProcess } from "../e2e/gateway-process.ts";
import { headerIn, type Pairs, type Relay, type RelayOptions, startRelay } from "./relay.ts";
import { type Control, towardsFixture, towardsGateway } from "./saboteur.ts";

const SERVER = "conformance";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - name: the-suite-may-do-all
    permit: ["${SERVER}/*", "resource:${SERVER}/*", "prompt:${SERVER}/*", "method:${SERVER}/*"]
`;

export type Through = { readonly url: string; close(): Promise<void> };

/**
 * The injector's address is the gateway's public URL. So the Host that a client means arrives at the gateway unchanged, a foreign one too,
 * and it is the gateway that must know it: what the DNS rebinding scenario asks of the fixture, it asks of the gateway.
 */
export async function startThrough(fixtureUrl: string, control: Control | null = null): Promise<Through> {
  let behindInjector = "";
  let accessToken: string | null = null;
  const injector = await startRelay({ target: () => behindInjector, onRequest: (pairs) => withToken(pairs, accessToken) });
  const beforeFixture = await startSaboteur(towardsFixture(control), fixtureUrl);
  const gateway = await GatewayProcess.prepare({
    policies: POLICIES,
    servers: `  ${SERVER}: { url: "${beforeFixture?.url ?? new URL(fixtureUrl).origin}${new URL(fixtureUrl).pathname}" }`,
    publicPort: injector.port,
  });
  const beforeGateway = await startSaboteur(towardsGateway(control, gateway.publicUrl), gateway.listenUrl);
  behindInjector = beforeGateway?.url ?? gateway.listenUrl;
  await gateway.serve();
  const agent: Credentials = await gateway.createAgent("conformance");
  accessToken = await gateway.accessToken(agent, SERVER);
  return {
    url: `${gateway.publicUrl}/mcp/${SERVER}`,
    async close() {
      await gateway.stop();
      for (const relay of [injector, beforeGateway, beforeFixture]) await relay?.close();
      rmSync(gateway.folder, { recursive: true, force: true });
    },
  };
}

async function startSaboteur(options: Omit<RelayOptions, "target"> | null, target: string): Promise<Relay | null> {
  return options === null ? null : await startRelay({ ...options, target: () => target });
}

function withToken(pairs: Pairs, accessToken: string | null): Pairs {
  if (accessToken === null || headerIn(pairs, "authorization") !== undefined) return pairs;
  return [...pairs, "Authorization", `Bearer ${accessToken}`];
}
