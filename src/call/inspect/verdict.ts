/** Pure. What a guard's answer says: allowed, refused, or nothing that counts. */
import { foldsOnto, isScanFault, type JsonNode, knownNames, member, scanJson, stringValue } from "../../json.ts";

export type Said =
  | {
      readonly verdict: "allow" | "refuse";
      /** A short word that the caller may know. */
      readonly code: string | null;
      /** For our own record only. */
      readonly reason: string | null;
    }
  | { readonly verdict: "failed"; readonly code: null; readonly reason: string };

export const failed = (reason: string): Said => ({ verdict: "failed", code: null, reason });

const CODE = /^[A-Za-z0-9._-]{1,64}$/;
/** A sentence; a record has 2.5 kB. */
const REASON_CHARACTERS_MAX = 256;

const HTTP_MEMBERS = knownNames(["decision", "code", "reason"]);
const AUTHZEN_MEMBERS = knownNames(["decision", "context"]);

/** `{ "decision": "allow" | "refuse", "code"?, "reason"? }` */
export function httpVerdict(bytes: Buffer): Said {
  const root = objectIn(bytes, HTTP_MEMBERS);
  if (typeof root === "string") return failed(root);
  const decision = stringValue(bytes, member(root, "decision"));
  if (decision !== "allow" && decision !== "refuse") return failed("its answer has no decision that counts");
  return { verdict: decision, ...wordsIn(bytes, root) };
}

/** OpenID AuthZEN Authorization API 1.0, section 6.2: `{ "decision": boolean, "context"? }`; a context may tell why. */
export function authzenVerdict(bytes: Buffer): Said {
  const root = objectIn(bytes, AUTHZEN_MEMBERS);
  if (typeof root === "string") return failed(root);
  const decision = member(root, "decision");
  if (decision?.kind !== "boolean") return failed("its answer has no decision that counts");
  return { verdict: bytes[decision.start] === TRUE ? "allow" : "refuse", ...wordsIn(bytes, member(root, "context")) };
}

/** The first byte of `true`. */
const TRUE = 0x74;

/** A member twice, or one that another reader could take for a decision, is a guard that nobody should believe. */
function objectIn(bytes: Buffer, known: ReturnType<typeof knownNames>): JsonNode | string {
  const root = scanJson(bytes, { treeDepth: 2 });
  if (isScanFault(root)) return `its answer is no JSON with one meaning: ${root.fault}`;
  if (root.kind !== "object") return "its answer is no object";
  const twin = root.members.some(({ name }) => foldsOnto(name, known));
  return twin ? "its answer has a member that could be taken for another" : root;
}

function wordsIn(bytes: Buffer, node: JsonNode | undefined): { readonly code: string | null; readonly reason: string | null } {
  const text = (name: string) => (node === undefined ? undefined : stringValue(bytes, member(node, name)));
  const code = text("code");
  const reason = text("reason");
  return { code: code !== undefined && CODE.test(code) ? code : null, reason: reason === undefined ? null : plain(reason) };
}

/** What comes from outside steers no terminal. */
function plain(text: string): string {
  return text
    .slice(0, REASON_CHARACTERS_MAX)
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, " ");
}
