/** Pure. The gateway's receipt within a result: nobody else's gets through, and ours is put in by its bytes. */
import { type Edit, isScanFault, type JsonNode, member, scanJson, splice } from "../../json.ts";
import { KEYS_MAX, readMessage, type UpstreamMessage } from "./message.ts";

export const RECEIPT = "io.tollgate/receipt";

type Response = Extract<UpstreamMessage, { kind: "response" }>;

/** A server's own word under this name would be taken for the gateway's. The same bytes where there is none. */
export function withoutReceipt(bytes: Buffer, message: Response): { readonly bytes: Buffer; readonly message: Response } {
  const cleaned = cleanedOf(bytes, message.body);
  // Read again only where something was taken out: then the nodes stand elsewhere.
  const again = cleaned === bytes ? message : readMessage(cleaned);
  if (again.kind !== "response") throw new Error("a result without a receipt is a result");
  return { bytes: cleaned, message: again };
}

function cleanedOf(bytes: Buffer, result: JsonNode): Buffer {
  // What a task came to stands a level deeper, with `_meta` of its own.
  const edits = [result, member(result, "result")].flatMap((node) => (node === undefined ? [] : removal(member(node, "_meta"))));
  if (edits.length === 0) return bytes;
  return splice(
    bytes,
    edits.toSorted((a, b) => a.start - b.start),
  );
}

function removal(meta: JsonNode | undefined): readonly Edit[] {
  const members = meta?.members ?? [];
  const at = members.findIndex(({ name }) => name === RECEIPT);
  const found = members[at];
  if (found === undefined) return [];
  const [before, after] = [members[at - 1], members[at + 1]];
  // Together with the comma that stands before it, or else after it.
  const start = before?.value.end ?? found.start;
  const end = before === undefined && after !== undefined ? after.start : found.value.end;
  return [{ start, end, replacement: NOTHING }];
}

const NOTHING = Buffer.alloc(0);

/** `message` is a whole JSON-RPC response for the client, without a receipt; `receipt` is JSON without a line break. */
export function withReceipt(message: Buffer, receipt: string): Buffer {
  const root = scanJson(message, { treeDepth: 3, keysMax: KEYS_MAX });
  const result = isScanFault(root) ? undefined : member(root, "result");
  if (result?.kind !== "object") return message;
  const meta = member(result, "_meta");
  const text = `"${RECEIPT}":${receipt}`;
  if (meta?.kind === "object") return splice(message, [insertion(meta, text)]);
  if (meta === undefined) return splice(message, [insertion(result, `"_meta":{${text}}`)]);
  return splice(message, [{ start: meta.start, end: meta.end, replacement: Buffer.from(`{${text}}`) }]);
}

function insertion({ start, members }: JsonNode, text: string): Edit {
  return { start: start + 1, end: start + 1, replacement: Buffer.from(members.length === 0 ? text : `${text},`) };
}
