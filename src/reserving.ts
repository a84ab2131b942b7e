/** What is held for a call before it is sent: the ceilings that the configuration and its permit declare. */
import type { McpRequest } from "./call/accept/request.ts";
import type { Permit } from "./call/authorize/permit.ts";
import { costOf, refuseUnpriced } from "./call/budget/price.ts";
import type { Amounts } from "./call/budget/reservation.ts";
import type { Round } from "./call/budget/rounds.ts";
import type { Server } from "./config.ts";
import type { MeterRules } from "./meter-rules.ts";
import type { Refusal } from "./refusal.ts";

export type Asked = Pick<McpRequest, "server" | "target"> & { readonly body: { readonly length: number } };

/** Amounts by meter; a meter that others report is not among them. */
export type Reserve = (permit: Pick<Permit, "reserve" | "draws">, asked: Asked, round: Pick<Round, "calls" | "task">) => Amounts | Refusal;

export type ReserveParts = {
  readonly servers: ReadonlyMap<string, Pick<Server, "reserve" | "timeoutMs">>;
  readonly rules: MeterRules;
  readonly now: () => number;
};

export function createReserve({ servers, rules, now }: ReserveParts): Reserve {
  return (permit, { server, target: asked, body }, { calls, task }) => {
    const target = task?.target ?? asked;
    const declared = { ...servers.get(server)?.reserve, ...permit.reserve };
    const amounts: Record<string, number> = {
      calls,
      tool_tokens: declared.tool_tokens ?? 0,
      bytes: body.length + (declared.bytes ?? 0),
      duration_ms: declared.duration_ms ?? servers.get(server)?.timeoutMs ?? 0,
    };
    if (target === null) return amounts;
    const { outcomes, meters } = rules.rulesFor(server, target);
    for (const { name } of outcomes) amounts[`outcome:${name}`] = 1;
    // What a task was given is counted already.
    for (const { name, of, max } of meters) if (task === null || of === "result") amounts[name] = (amounts[name] ?? 0) + max;
    const price = rules.priceFor(server, target, now());
    if (price !== null) amounts.cost_micros = costOf(price, amounts);
    return price === null ? (refuseUnpriced(permit.draws, `${server}/${target.name}`) ?? amounts) : amounts;
  };
}
