/** Pure. What a subscriptions/listen asks to hear of: resources that the caller may read, and tasks of its own. */
import { isScanFault, type JsonNode, member, scanJson, stringValue } from "../../json.ts";

/** `params.notifications.resourceSubscriptions` or `.taskIds`; null where it is no list of strings. */
export function subscribed(body: Buffer, to: "resourceSubscriptions" | "taskIds"): readonly string[] | null {
  const root = scanJson(body, { treeDepth: 4 });
  if (isScanFault(root)) return null;
  const list = inside(root, ["params", "notifications", to]);
  if (list === undefined) return [];
  if (list.kind !== "array") return null;
  const names: string[] = [];
  for (const element of list.elements) {
    const name = stringValue(body, element);
    if (name === undefined) return null;
    names.push(name);
  }
  return names;
}

export function inside(root: JsonNode, names: readonly string[]): JsonNode | undefined {
  let node: JsonNode | undefined = root;
  for (const name of names) node = node === undefined ? undefined : member(node, name);
  return node;
}
