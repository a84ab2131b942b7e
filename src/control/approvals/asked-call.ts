/** Pure. What exactly a person is asked: who calls what with which values. Nothing that differs in any of them is the same call. */
import { createHash } from "node:crypto";
import type { McpRequest } from "../../call/accept/request.ts";
import { pathOf } from "../../call/accept/request.ts";
import type { Agent } from "../../call/authenticate/agent.ts";
import type { Approval } from "../../call/authorize/permit.ts";
import { isScanFault, type JsonMember, type JsonNode, member, scanJson, stringValue } from "../../json.ts";
import type { RuleRef } from "../../refusal.ts";
import { visibly } from "../../visible-text.ts";

export type AskedCall = {
  /** Hex SHA-256. Bound to the rule and to whom it names: a yes under other rules is no answer. */
  readonly fingerprint: string;
  /** As policies write it. */
  readonly target: string;
  /** What the server would be told, in one form; null where that is more than a person reads. */
  readonly shown: string | null;
  readonly shownBytes: number;
  readonly shownSha256: string;
};

/** Four pages of text. Of what is larger the size and the hash are shown. */
export const SHOWN_BYTES_MAX = 16_384;

/** `answersUs`: what it brings back is for a question of ours, and is taken out before it goes on. */
export function askedCallOf(agent: Agent, request: McpRequest, rule: RuleRef | null, { by }: Approval, answersUs: boolean): AskedCall {
  const { server, method } = request;
  const target = request.target ?? { kind: "method" as const, name: method ?? "" };
  const { bound, shown } = valuesOf(request.body, answersUs ? NEVER_SENT : UNBOUND);
  const caller = [agent.profile.id, agent.principal];
  const who = JSON.stringify([...caller, server, method, target.kind, target.name, rule?.name ?? null, by.toSorted()]);
  const shownBytes = Buffer.byteLength(shown);
  return {
    fingerprint: createHash("sha256").update(`${who}\n`).update(bound).digest("hex"),
    target: pathOf(server, target),
    shown: shownBytes > SHOWN_BYTES_MAX ? null : shown,
    shownBytes,
    shownSha256: createHash("sha256").update(shown).digest("hex"),
  };
}

/** Not part of what is asked: it differs at each sending. */
const UNBOUND: ReadonlySet<string> = new Set(["_meta"]);
/** Nor what answers a question of ours. For a server's it is as much of the call as the arguments are. */
const NEVER_SENT: ReadonlySet<string> = new Set(["_meta", "inputResponses", "requestState"]);
/** The target says it already. */
const NAMES: ReadonlySet<string> = new Set(["name", "uri"]);

/**
 * The members of `params` in one form, whatever their order, spaces and escapes; numbers as they were written, since a double holds
 * fewer. What has more values than a person reads is compared byte by byte.
 */
function valuesOf(body: Buffer, unbound: ReadonlySet<string>): { readonly bound: string | Buffer; readonly shown: string } {
  const root = scanJson(body, { treeDepth: Number.POSITIVE_INFINITY });
  if (isScanFault(root)) return rawValuesOf(body, unbound);
  const params = member(root, "params");
  const members = (params?.members ?? []).filter(({ name }) => !unbound.has(name));
  const told = members.filter(({ name }) => !NAMES.has(name));
  const [only] = told;
  // A member beside the arguments reaches the server too: then all of them are shown.
  const shown =
    told.length === 0 ? "{}" : told.length === 1 && only?.name === "arguments" ? textOf(body, only.value) : objectOf(body, told);
  return { bound: objectOf(body, members), shown };
}

function rawValuesOf(body: Buffer, unbound: ReadonlySet<string>): { readonly bound: Buffer; readonly shown: string } {
  const root = scanJson(body, { treeDepth: 2 });
  const params = isScanFault(root) ? undefined : member(root, "params");
  const members = (params?.members ?? []).filter(({ name }) => !unbound.has(name));
  const bound = Buffer.concat(members.map(({ start, value }) => body.subarray(start, value.end)));
  return { bound, shown: visibly(bound.toString()) };
}

function textOf(body: Buffer, node: JsonNode): string {
  switch (node.kind) {
    case "object":
      return objectOf(body, node.members);
    case "array":
      return `[${node.elements.map((element) => textOf(body, element)).join(",")}]`;
    case "string":
      return quoted(stringValue(body, node) ?? "");
    default:
      return body.toString("latin1", node.start, node.end);
  }
}

function objectOf(body: Buffer, members: readonly JsonMember[]): string {
  const sorted = members.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return `{${sorted.map(({ name, value }) => `${quoted(name)}:${textOf(body, value)}`).join(",")}}`;
}

/** Whoever reads it sees every character: what has no shape of its own, or turns the line around, is written as an escape. */
function quoted(text: string): string {
  return visibly(JSON.stringify(text));
}
