import { expect, test } from "vitest";
import { call, send, startUpstream, textOf } from "./stdio-client.ts";

test("smoke", async () => {
  const { upstream, warnings } = startUpstream();
  const reply = await send(upstream, call("line", { a: 1 }, { id: "x", progressToken: "tok" }));
  console.log(reply.outcome, reply.outcome.last?.toString(), textOf(reply), warnings);
});
