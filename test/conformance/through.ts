/** The fixture behind a gateway process of its own, with a token injector in front: the suite has no token to send. */
import { type Credentials, GatewayProcess } from "../e2e/gateway-process.ts";
import { headerIn, type Pairs, startRelay } from "./relay.ts";

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
export async function startThrough(fixtureUrl: string): Promise<Through> {
  let listenUrl = "";
  let accessToken: string | null = null;
  const injector = await startRelay({ target: () => listenUrl, onRequest: (pairs) => withToken(pairs, accessToken) });
  const gateway = await GatewayProcess.prepare({
    policies: POLICIES,
    servers: `  ${SERVER}: { url: "${fixtureUrl}" }`,
    publicPort: injector.port,
  });
  listenUrl = gateway.listenUrl;
  await gateway.serve();
  const agent: Credentials = await gateway.createAgent("conformance");
  accessToken = await gateway.accessToken(agent, SERVER);
  return {
    url: `${gateway.publicUrl}/mcp/${SERVER}`,
    async close() {
      await gateway.stop();
      await injector.close();
    },
  };
}

function withToken(pairs: Pairs, accessToken: string | null): Pairs {
  if (accessToken === null || headerIn(pairs, "authorization") !== undefined) return pairs;
  return [...pairs, "Authorization", `Bearer ${accessToken}`];
}
