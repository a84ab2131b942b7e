/** Pure. What a guard is asked: who calls what, and the bytes in question as they were received. */
import { isScanFault, member, scanJson } from "../../json.ts";
import type { McpRequest, Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import type { InspectionLine, Permit } from "../authorize/permit.ts";
import type { Outcome } from "../forward/outcome.ts";

/** Names of members, and their JSON as it stood on the wire: spliced in, never written anew. */
export type Content = readonly (readonly [name: string, json: Buffer])[];

export type Question = {
  readonly of: InspectionLine["of"];
  readonly permit: Permit;
  readonly agent: Agent;
  readonly request: McpRequest;
  /** Of a request that follows a task the tool that was called. */
  readonly target: Target | null;
  /** How an answer came out; null while nothing is sent. */
  readonly outcome: Outcome["kind"] | null;
  readonly content: Content;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
};

/**
 * What the agent chose beside the target: arguments, what it completes, and its answers to an `input_required`.
 * Null: nothing, since it only asks how a task is getting on.
 */
export function argumentContent({ body, argumentsSpan, method, course }: McpRequest): Content | null {
  const content: [string, Buffer][] = [
    ["arguments", argumentsSpan === null ? EMPTY_OBJECT : body.subarray(argumentsSpan.start, argumentsSpan.end)],
  ];
  const root = scanJson(body, { treeDepth: 2 });
  const params = isScanFault(root) ? undefined : member(root, "params");
  for (const [name, shown] of method === "completion/complete" ? COMPLETED : ANSWERED) {
    const node = params === undefined ? undefined : member(params, name);
    if (node !== undefined) content.push([shown, body.subarray(node.start, node.end)]);
  }
  return course === "task" && content.length === 1 ? null : content;
}

const EMPTY_OBJECT = Buffer.from("{}");
const ANSWERED = [["inputResponses", "input_responses"]] as const;
const COMPLETED = [
  ["argument", "argument"],
  ["context", "context"],
] as const;

/** The result, or the error in its place; null: nothing came that the client would read. */
export function resultContent({ result, last, refusal }: Outcome): Content | null {
  if (refusal !== null) return null;
  if (result !== null) return [["result", result]];
  return last === null ? null : [["result", errorIn(last)]];
}

/** Of an upstream's own HTTP error the message is all that there is. */
function errorIn(message: Buffer): Buffer {
  const root = scanJson(message, { treeDepth: 1 });
  const error = isScanFault(root) ? undefined : member(root, "error");
  return error === undefined ? message : message.subarray(error.start, error.end);
}

export function contentBytes(content: Content): number {
  return content.reduce((bytes, [, json]) => bytes + json.length, 0);
}

export function httpQuestion(question: Question): string {
  const { of, permit, agent, request, target, outcome, content } = question;
  const { id, name, team, customer, workflow, owner, purpose } = agent.profile;
  return spliced(
    {
      version: 1,
      inspect: of,
      call_id: request.callId,
      time: new Date(question.nowMs).toISOString(),
      agent: { id, name, team, customer, workflow, owner, purpose },
      ...(agent.subject === null ? {} : { subject: agent.subject }),
      server: request.server,
      method: request.method,
      target,
      rule: permit.rule?.name ?? null,
      ...(outcome === null ? {} : { outcome }),
    },
    content,
  );
}

/** OpenID AuthZEN Authorization API 1.0, section 6.1: the access evaluation request. */
export function authzenQuestion(question: Question): string {
  const { permit, agent, request, target, content } = question;
  const { id, ...profile } = agent.profile;
  const { name, kind, team, customer, workflow, owner, purpose } = profile;
  const subject = agent.subject === null ? {} : { subject: agent.subject };
  const properties = { name, kind, team, customer, workflow, owner, purpose, ...subject };
  const resource = { server: request.server, name: target?.name ?? "" };
  return spliced(
    {
      subject: { type: "agent", id, properties },
      action: { name: request.method },
      context: { call_id: request.callId, time: new Date(question.nowMs).toISOString(), rule: permit.rule?.name ?? null },
    },
    [
      [
        "resource",
        Buffer.from(
          spliced({ type: target?.kind ?? "method", id: `${resource.server}/${resource.name}` }, [
            ["properties", Buffer.from(spliced(resource, content))],
          ]),
        ),
      ],
    ],
  );
}

/** `head` has members; what follows them is valid UTF-8, as the strict scan has seen. */
function spliced(head: object, content: Content): string {
  const members = content.map(([name, json]) => `,${JSON.stringify(name)}:${json.toString()}`);
  return `${JSON.stringify(head).slice(0, -1)}${members.join("")}}`;
}
