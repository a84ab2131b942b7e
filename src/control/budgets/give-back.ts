/** Ends the parts of budgets whose tokens have ended: what was not used goes back, once, to the counters and windows that it came from. */
import { subBudgetDraw } from "../../call/authorize/sub-budgets.ts";
import type { Adjusting, Adjustment, Ledger, Reservation } from "../../call/budget/reservation.ts";
import type { AuditRecord } from "../../call/record/audit-record.ts";
import { budgetLines } from "../../call/record/budget-line.ts";
import { StoreUnavailable } from "../../call/record/journal.ts";
import type { RunTask } from "../../call/record/journal-client.ts";
import type { Reader } from "../../call/record/reader.ts";
import { movesOf } from "../../call/record/rows.ts";
import { mintId } from "../../ids.ts";
import { isRefusal } from "../../refusal.ts";
import { RegistryAway } from "../postgres.ts";
import { ownLine, type UnderWay } from "./lend.ts";
import type { Aside, SubBudgets } from "./sub-budgets.ts";

export type GiveBackParts = {
  readonly ledger: Pick<Ledger, "hold" | "weigh"> & Pick<Adjusting, "apply">;
  readonly run: RunTask;
  readonly reader: Pick<Reader, "ask">;
  readonly registry: { catchUp(): Promise<void>; isRevoked(issuer: string, tokenId: string): boolean };
  readonly subBudgets: SubBudgets;
  readonly issuer: string;
  readonly gateway: string;
  readonly recordOf: (kind: "budget.returned", by: string, details: AuditRecord["details"]) => AuditRecord;
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

export type GiveBack = { close(): Promise<void> };

const SWEEP_MS = 500;
/** Whoever asks for the counter of a part that has ended asks within the life of a request. */
const RETIRED_MS = 3_600_000;

/** What is left of a part, held so that nobody can use it any more. */
type Rest = { readonly reservation: Reservation; readonly amount: number; readonly back?: readonly Adjustment[] };

export function createGiveBack(parts: GiveBackParts, underWay: UnderWay): GiveBack {
  const { ledger, run, reader, registry, subBudgets, issuer, gateway, now, fault } = parts;
  const rests = new Map<string, Rest>();

  /** Only the gateway whose journal has it: nobody else can tell what was taken. */
  function isDue({ row }: Aside): boolean {
    if (row.gateway !== gateway || underWay.taking.has(row.id)) return false;
    return row.state !== "open" || now() >= row.expires_ms || registry.isRevoked(issuer, row.jti);
  }

  async function settle(aside: Aside): Promise<void> {
    const { row } = aside;
    if (row.state !== "closed" && !(await subBudgets.move(row.id, row.state, "closed"))) return;
    const known = await reader.ask("balanceOf", aside.budget);
    // Never written: what this process has counted all the same is taken back.
    if (known === null) return await finish(aside, row.amount);
    if (known.windowEndMs === null) {
      const rest = rests.get(row.id) ?? (await restOf(aside));
      if (rest === null) return;
      // Kept if the journal fails: whether it was written is read next time.
      rests.set(row.id, rest);
      rests.set(row.id, { ...rest, back: await write(aside, rest.amount) });
    }
    const rest = rests.get(row.id);
    rests.delete(row.id);
    rest?.reservation.sent();
    rest?.reservation.postUnknown();
    if (rest !== undefined) underWay.counted.add(row.id);
    await retire(aside);
    await finish(aside, rest?.amount ?? 0, rest?.back);
  }

  /** Null: a call is under way, or a part of it is set aside in turn. Where the rest is held, both are over, for every gateway. */
  async function restOf(aside: Aside): Promise<Rest | null> {
    const draw = subBudgetDraw(aside);
    const { refusal, left } = await ledger.weigh([draw], { [aside.meter]: 0 }, now());
    const [standing] = left;
    if (refusal !== null || standing === undefined || standing.held > 0) return null;
    // What was taken from it by now is in the registry by now.
    await registry.catchUp();
    if (subBudgets.all().some(({ lines }) => lines.some((line) => line.draw.budget === aside.budget))) return null;
    const amount = standing.remaining;
    const reservation = await ledger.hold(mintId("call", now()), [draw], { [aside.meter]: amount }, now());
    return isRefusal(reservation) ? null : { reservation, amount };
  }

  /** Of each counter at most what this gateway has committed on it: what somebody has credited since is given back already. */
  async function carried(lines: Aside["lines"], amount: number): Promise<Adjustment[]> {
    const balances = await reader.ask("balances");
    return lines.map((line) => {
      const { draw, windowStartMs } = line;
      const row = balances.find((each) => each.budget === draw.budget && each.scope === draw.scope && each.windowStartMs === windowStartMs);
      return adjusted(line, -Math.min(amount, row?.committed ?? 0));
    });
  }

  async function write({ row, lines }: Aside, amount: number): Promise<Adjustment[]> {
    const { agent_id, parent_agent_id, meter, amount: limit, jti } = row;
    const own: Adjustment = { line: ownLine(row, now()), posted: amount, debt: 0 };
    const back = amount === 0 ? [] : await carried(lines, amount);
    const moved = [own, ...back];
    const details = { budget: own.line.draw.budget, meter, limit, returned: amount, agent_id, parent_agent_id, token_id: jti };
    await run("adjustBalances", movesOf(moved), { ...parts.recordOf("budget.returned", "gateway", details), budget: budgetLines(moved) });
    return back;
  }

  /** Its counter is full and written: from now on ledgers may forget it. */
  async function retire(aside: Aside): Promise<void> {
    const draw = { ...subBudgetDraw(aside), untilMs: now() + RETIRED_MS };
    const nothing = await ledger.hold(mintId("call", now()), [draw], { [aside.meter]: 0 }, now());
    if (!isRefusal(nothing)) nothing[Symbol.dispose]();
  }

  /** `amount` is given back in the ledger too, where this process has counted it; in one that has started since, it never was. */
  async function finish({ row, lines }: Aside, amount: number, back?: readonly Adjustment[]): Promise<void> {
    if (underWay.counted.delete(row.id)) {
      const all = back ?? lines.map((line) => adjusted(line, -amount));
      ledger.apply(all.filter(({ line: { windowEndMs } }) => windowEndMs === null || windowEndMs > now()));
    }
    await subBudgets.move(row.id, "closed", "returned");
  }

  async function sweep(): Promise<void> {
    for (const aside of subBudgets.all().filter(isDue)) {
      await settle(aside).catch((thrown) => {
        if (!(thrown instanceof StoreUnavailable) && !(thrown instanceof RegistryAway)) fault(thrown);
      });
    }
  }

  let sweeping: Promise<void> | null = null;
  const timer = setInterval(() => {
    sweeping ??= sweep().finally(() => {
      sweeping = null;
    });
  }, SWEEP_MS).unref();
  return {
    async close() {
      clearInterval(timer);
      await sweeping;
    },
  };
}

function adjusted(line: Aside["lines"][number], posted: number): Adjustment {
  return { line: { ...line, amount: 0 }, posted, debt: 0 };
}
