/** Pure. Which resources a subscriptions/listen asks to hear of: each has to be one that the caller may read. */
import { isScanFault, type JsonNode, member, scanJson, stringValue } from "../../json.ts";

/** `params.notifications.resourceSubscriptions`; null where it is no list of strings. */
export function subscribedUris(body: Buffer): readonly string[] | null {
  const root = scanJson(body, { treeDepth: 4 });
  if (isScanFault(root)) return null;
  const list = inside(root, ["params", "notifications", "resourceSubscriptions"]);
  if (list === undefined) return [];
  if (list.kind !== "array") return null;
  const uris: string[] = [];
  for (const element of list.elements) {
    const uri = stringValue(body, element);
    if (uri === undefined) return null;
    uris.push(uri);
  }
  return uris;
}

function inside(root: JsonNode, names: readonly string[]): JsonNode | undefined {
  let node: JsonNode | undefined = root;
  for (const name of names) node = node === undefined ? undefined : member(node, name);
  return node;
}
