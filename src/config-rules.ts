/** Pure. What no single key of the config can know: how its parts must fit together. */
import { isHttpsOrLoopback, isLoopbackHost, isOrigin } from "./addresses.ts";
import type { ConfigFile } from "./config.ts";
import type { Document, Path, Problem } from "./document.ts";
import { problemAtValue } from "./issues.ts";

/** Judges the sections that could be read. */
export function rulesOf(document: Document, file: Partial<ConfigFile>): Problem[] {
  const found: Problem[] = [];
  const say = (path: Path, message: string): void => {
    found.push(problemAtValue(document, path, message));
  };
  if (file.publicUrl !== undefined) judgePublicUrl(file.publicUrl, say);
  if (file.listen !== undefined) judgeListen(file.listen, file.publicUrl, say);
  if (file.admin !== undefined) judgeLoopback("admin", file.admin.host, say);
  if (file.probes !== undefined) judgeLoopback("probes", file.probes.host, say);
  judgePorts(file, say);
  judgeIssuers(file, say);
  judgeServers(file.servers ?? {}, say);
  return found;
}

type Say = (path: Path, message: string) => void;

/** Audiences are compared byte for byte: the URL is written as every client will write it. */
function judgePublicUrl(publicUrl: string, say: Say): void {
  if (!isOrigin(publicUrl)) {
    say(["publicUrl"], `must be a scheme and a host alone, without path, query or slash at its end: ${URL.parse(publicUrl)?.origin}`);
  } else if (!isHttpsOrLoopback(publicUrl)) say(["publicUrl"], "must begin with https:// (http:// only for this machine)");
}

function judgeListen(listen: ConfigFile["listen"], publicUrl: string | undefined, say: Say): void {
  if (isLoopbackHost(listen.host)) return;
  const missing = [listen.behindProxy === undefined && "behindProxy", listen.allowedHosts === undefined && "allowedHosts"].filter(Boolean);
  if (missing.length > 0) {
    say(["listen", "host"], `beyond loopback the listener needs a TLS proxy in front: set listen.${missing.join(" and listen.")}`);
  }
  if (publicUrl === undefined) say(["listen", "host"], "beyond loopback publicUrl must be set: the URL that agents use");
}

function judgeLoopback(listener: "admin" | "probes", host: string, say: Say): void {
  if (!isLoopbackHost(host)) say([listener, "host"], "must be a loopback address such as 127.0.0.1: this listener has no TLS");
}

function judgePorts(file: Partial<ConfigFile>, say: Say): void {
  const seen = new Map<string, string>();
  for (const name of ["listen", "admin", "probes"] as const) {
    const address = file[name];
    if (address === undefined || address.port === 0) continue;
    const key = `${address.host}:${address.port}`;
    const other = seen.get(key);
    if (other !== undefined) say([name, "port"], `is the port of ${other} too`);
    seen.set(key, name);
  }
}

function judgeIssuers(file: Partial<ConfigFile>, say: Say): void {
  const seen = new Set<string>();
  for (const [index, { issuer }] of (file.issuers ?? []).entries()) {
    if (seen.has(issuer)) say(["issuers", index, "issuer"], "stands here twice: keep one");
    if (issuer === file.publicUrl) say(["issuers", index, "issuer"], "is this gateway's own authorization server, which needs no entry");
    seen.add(issuer);
  }
}

const SECRET_NAME = /(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$/i;

/** A variable whose name says that it is a secret, written out: the one place where the schema must allow plain texts. */
function judgeServers(servers: ConfigFile["servers"], say: Say): void {
  for (const [name, server] of Object.entries(servers)) {
    if (!("env" in server)) continue;
    for (const [variable, value] of Object.entries(server.env)) {
      if (SECRET_NAME.test(variable) && !/^(env|file):/.test(value)) {
        say(["servers", name, "env", variable], "a secret never stands here in clear text: write env:NAME or file:PATH");
      }
    }
  }
}
