/** What a task came to is charged once: of what a look brings, what no look before it has been charged for. */
import { createHash } from "node:crypto";
import type { CallId } from "../../ids.ts";
import type { Bill, Due } from "../authorize/tasks.ts";

/** Of one task, the last ones: what was brought before them is charged anew. */
const TEXTS_MAX = 8;

/** Resolves when no other look is being charged; from then on until `endTurn` it is this one. */
export async function takeTurn(bill: Bill, callId: CallId): Promise<void> {
  while (bill.turn !== null && bill.turn.callId !== callId) await bill.turn.over;
  if (bill.turn !== null) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  bill.turn = { callId, over: promise, end: resolve, due: null };
}

/** `amounts`: outcomes and further meters. Answers whether its text is charged already, and what of the amounts is not. */
export function dueOf(
  bill: Bill,
  text: Uint8Array,
  amounts: Readonly<Record<string, number>>,
): { readonly isKnown: boolean; readonly amounts: Readonly<Record<string, number>> } {
  const digest = digestOf(text);
  if (bill.turn !== null) bill.turn.due = { text: digest, amounts };
  const left = Object.entries(amounts).map(([meter, amount]) => [meter, amount - (bill.amounts.get(meter) ?? 0)] as const);
  return { isKnown: bill.texts.has(digest), amounts: Object.fromEntries(left.filter(([, amount]) => amount > 0)) };
}

/** The look has ended; what is not its turn ends nothing. `isCharged`: what it brought is in the books. */
export function endTurn(bill: Bill, callId: CallId, isCharged: boolean): void {
  const { turn } = bill;
  if (turn === null || turn.callId !== callId) return;
  bill.turn = null;
  if (isCharged && turn.due !== null) enter(bill, turn.due);
  turn.end();
}

/** The handle has brought it along, and it was charged with the call. */
export function enterInline(bill: Bill, text: Uint8Array, amounts: Readonly<Record<string, number>>): void {
  enter(bill, { text: digestOf(text), amounts });
}

function enter({ texts, amounts }: Bill, due: Due): void {
  texts.delete(due.text);
  texts.add(due.text);
  const [oldest] = texts;
  if (texts.size > TEXTS_MAX && oldest !== undefined) texts.delete(oldest);
  for (const [meter, amount] of Object.entries(due.amounts)) amounts.set(meter, Math.max(amount, amounts.get(meter) ?? 0));
}

function digestOf(text: Uint8Array): string {
  return createHash("sha256").update(text).digest("base64");
}
