/** Pure. How the parts of an upstream's credential must fit together. */
import type { ConfigFile } from "./config-schema.ts";
import type { Path } from "./document.ts";

type Say = (path: Path, message: string) => void;
type Clients = ConfigFile["clients"];
type CredentialFile = Extract<ConfigFile["servers"][string], { url: string }>["credential"];

export function judgeCredentials(servers: ConfigFile["servers"], clients: Clients, say: Say): void {
  for (const [issuer, client] of Object.entries(clients)) judgeRegistration(client, ["clients", issuer], say);
  for (const [name, server] of Object.entries(servers)) {
    if (!("url" in server) || server.credential === "none") continue;
    const path: Path = ["servers", name, "credential"];
    judgeCertificate(server.credential, server.url, [...path, "mtls"], say);
    if ("clientCredentials" in server.credential) {
      judgeClient(server.credential.clientCredentials, clients, [...path, "clientCredentials"], say);
    } else if ("privateKeyJwt" in server.credential) {
      judgeClient(server.credential.privateKeyJwt, clients, [...path, "privateKeyJwt"], say);
      judgeKeyClient(server.credential.privateKeyJwt, clients, [...path, "privateKeyJwt"], say);
    } else if ("tokenExchange" in server.credential) {
      judgeClient(server.credential.tokenExchange, clients, [...path, "tokenExchange"], say);
      judgeProfile(server.credential.tokenExchange, [...path, "tokenExchange"], say);
    }
  }
}

type Registration = {
  readonly clientSecret?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly authMethod?: string | undefined;
};
type Client = Registration & { readonly issuer: string; readonly clientId?: string | undefined };

function judgeRegistration({ clientSecret, clientKey, authMethod }: Registration, path: Path, say: Say): void {
  if (clientSecret === undefined && clientKey === undefined) say(path, "needs clientSecret or clientKey");
  if (clientSecret !== undefined && clientKey !== undefined) say([...path, "clientKey"], "stands beside clientSecret: keep one");
  if (clientKey !== undefined && authMethod !== undefined) say([...path, "authMethod"], "is for a clientSecret");
}

function judgeClient(client: Client, clients: Clients, path: Path, say: Say): void {
  const { issuer, clientId, clientSecret, clientKey } = client;
  if (clientId !== undefined && issuer !== "discover") return judgeRegistration(client, path, say);
  if (clientId !== undefined || clientSecret !== undefined || clientKey !== undefined) {
    const why = issuer === "discover" ? "which issuer may see the client is said in clients, by issuer" : 'the key "clientId" is missing';
    say(path, why);
  } else if (issuer === "discover") {
    if (Object.keys(clients).length === 0) say([...path, "issuer"], "needs clients: the gateway's client at each issuer that may be found");
  } else if (!Object.hasOwn(clients, issuer)) {
    say(path, "needs clientId with clientSecret or clientKey, here or in clients under this issuer");
  }
}

function judgeKeyClient({ issuer, clientId, clientKey }: Client, clients: Clients, path: Path, say: Say): void {
  const meant = issuer === "discover" ? Object.values(clients) : [clients[issuer]];
  const hasKey =
    clientId === undefined ? meant.every((each) => each === undefined || each.clientKey !== undefined) : clientKey !== undefined;
  if (!hasKey) say(path, "needs a clientKey, here or in clients");
}

function judgeProfile(written: Extract<CredentialFile, { tokenExchange: unknown }>["tokenExchange"], path: Path, say: Say): void {
  if (written.profile !== "entra-obo") return;
  if (written.issuer === "discover") say([...path, "issuer"], "entra-obo needs the issuer of its tenant");
  if (written.scopes.length === 0) say(path, "entra-obo needs scopes: they name the resource, such as api://tickets/.default");
  for (const key of ["audience", "resource", "actorToken"] as const) {
    if (written[key] !== undefined) say([...path, key], "is not for entra-obo: the scopes name the resource");
  }
}

function judgeCertificate(credential: CredentialFile, url: string, path: Path, say: Say): void {
  if (credential === "none" || credential.mtls === undefined) return;
  if (!url.startsWith("https:")) say(path, "needs a server whose url begins with https://");
}
