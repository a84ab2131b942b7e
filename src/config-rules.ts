/** Pure. What no single key of the config can know: how its parts must fit together. */
import { isHttpsOrLoopback, isLoopbackHost, isOrigin } from "./addresses.ts";
import { globOf, isPattern } from "./call/authorize/glob.ts";
import { parsePattern, writtenAs } from "./call/authorize/pattern.ts";
import { judgeCredentials } from "./config-credential-rules.ts";
import { judgeMetering } from "./config-metering-rules.ts";
import { judgePrices } from "./config-prices.ts";
import type { ConfigFile } from "./config-schema.ts";
import { judgeShared } from "./config-shared.ts";
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
  judgeShared(file, say);
  judgeIssuers(file, say);
  judgeServers(file.servers ?? {}, say);
  judgeCredentials(file.servers ?? {}, file.clients ?? {}, say);
  judgeViews(file.views ?? {}, Object.keys(file.servers ?? {}), say);
  judgeMetering(file, Object.keys(file.servers ?? {}), say);
  judgePrices(file, Object.keys(file.servers ?? {}), say);
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
  for (const [index, written] of (file.issuers ?? []).entries()) {
    const { issuer } = written;
    if (seen.has(issuer)) say(["issuers", index, "issuer"], "stands here twice: keep one");
    if (issuer === file.publicUrl) say(["issuers", index, "issuer"], "is this gateway's own authorization server, which needs no entry");
    seen.add(issuer);
    judgeIssuer(written, ["issuers", index], say);
  }
  judgePrefixes(file.issuers ?? [], say);
}

/** An opaque token does not say whose it is: no two issuers may take it for theirs. */
function judgePrefixes(issuers: ConfigFile["issuers"], say: Say): void {
  const asked = issuers.flatMap(({ introspection }, index) =>
    introspection === undefined ? [] : [{ prefix: introspection.prefix ?? "", index }],
  );
  for (const { prefix, index } of asked) {
    const other = asked.find((each) => each.index < index && (each.prefix.startsWith(prefix) || prefix.startsWith(each.prefix)));
    if (other !== undefined)
      say(
        ["issuers", index, "introspection"],
        `tokens could be of issuers[${other.index}] as well: give each a prefix that the other's do not begin with`,
      );
  }
}

function judgeIssuer(
  { profile, clients, unknownAgent, register, jwks, jwksUri }: ConfigFile["issuers"][number],
  path: Path,
  say: Say,
): void {
  if ((profile === "cognito") !== (clients !== undefined))
    say(
      [...path, clients === undefined ? "profile" : "clients"],
      "clients goes with the profile cognito, whose tokens have no aud, and is needed there",
    );
  if ((unknownAgent === "register") !== (register !== undefined))
    say([...path, register === undefined ? "unknownAgent" : "register"], "register goes with unknownAgent: register, and is needed there");
  if (jwks !== undefined && jwksUri !== undefined) say([...path, "jwks"], "jwks and jwksUri are two answers to one question");
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

/** A view whose parts do not exist, or whose names could mean two things, is refused before anybody sees it. */
function judgeViews(views: ConfigFile["views"], servers: readonly string[], say: Say): void {
  const isServed = (written: string): boolean => servers.some(globOf(written));
  for (const [name, { tools, rename }] of Object.entries(views)) {
    if (servers.includes(name)) say(["views", name], "is the name of a server too: both would be served at the same path");
    for (const [index, written] of tools.entries()) {
      const pattern = parsePattern(written);
      if ("problem" in pattern) say(["views", name, "tools", index], pattern.problem);
      else if (!isServed(pattern.server)) say(["views", name, "tools", index], `there is no server ${pattern.server}`);
    }
    judgeRenames(name, tools, rename, isServed, say);
  }
}

function judgeRenames(
  view: string,
  tools: readonly string[],
  rename: Readonly<Record<string, string>>,
  isServed: (server: string) => boolean,
  say: Say,
): void {
  const taken = new Map<string, string>();
  for (const [written, shown] of Object.entries(rename)) {
    const path = ["views", view, "rename", written];
    const target = parsePattern(written);
    if ("problem" in target) say(path, target.problem);
    else if ((target.kind !== "tool" && target.kind !== "prompt") || isPattern(written)) {
      say(path, "renames one tool or one prompt: write server/tool or prompt:server/name, without *");
    } else if (!isServed(target.server)) say(path, `there is no server ${target.server}`);
    else if (!tools.some((pattern) => covers(pattern, target))) say(path, `is not among the tools of this view`);
    else {
      const other = taken.get(`${target.kind}:${shown}`);
      if (other !== undefined) say(path, `${other} is shown as ${shown} already`);
      taken.set(`${target.kind}:${shown}`, writtenAs(target.server, target));
    }
  }
}

function covers(written: string, target: { readonly kind: string; readonly server: string; readonly name: string }): boolean {
  const pattern = parsePattern(written);
  return (
    !("problem" in pattern) && pattern.kind === target.kind && globOf(pattern.server)(target.server) && globOf(pattern.name)(target.name)
  );
}
