import { expect, test } from "vitest";
import { decide } from "../../src/call/authorize/decide.ts";
import { agentOf, asked, policies } from "./fixture.ts";

const SET = policies(`entitlements:
  - { name: public, permit: ["resource:tickets/file:///pub/*"] }
  - { name: private, forbid: ["resource:tickets/file:///pub/secret*"] }
`);

function listen(resourceSubscriptions: unknown): string {
  const body = JSON.stringify({ params: { notifications: { toolsListChanged: true, resourceSubscriptions } } });
  const answer = decide(SET, agentOf(), { ...asked("method:tickets/subscriptions/listen"), body: Buffer.from(body) }, 0);
  return "refused" in answer ? answer.refused : "permit";
}

test.each([
  [undefined, "permit"],
  [[], "permit"],
  [["file:///pub/a", "file:///pub/b"], "permit"],
  [["file:///pub/a", "file:///etc/passwd"], "tool_unknown"],
  [["file:///pub/secret.txt"], "tool_unknown"],
  [["file:///pub/../etc/passwd"], "tool_unknown"],
  ["file:///pub/a", "tool_unknown"],
  [[1], "tool_unknown"],
])("to listen for changes of %j: %s", (uris, verdict) => expect(listen(uris)).toBe(verdict));
