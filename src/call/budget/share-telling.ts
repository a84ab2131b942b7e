/** What a gateway says to the shared ledger of its share: all of it, page by page, and what it gives back. */
import { nameOf, type OwnShares, placeIn, type Share } from "./own-shares.ts";
import type { Reply, ScriptName } from "./redis-link.ts";

/** In a session: the script is given its epoch, gateway and session first. Rejects where the session has ended. */
export type Say = (name: ScriptName, args: readonly string[]) => Promise<Reply>;

/** Counters in one script: some 10 us each, while everybody waits. */
const PAGE = 200;

/** What is known there and not here is nothing: it has been settled, and its window has ended. `ask` knows epoch and gateway. */
export async function knowTold(ask: Say, shares: OwnShares): Promise<void> {
  for (let offset = 0; ; offset += PAGE) {
    const page = await ask("shares", [String(offset), String(PAGE)]);
    for (let i = 0; i < page.length; i += 2) {
      const place = page[i + 1] === "gone" ? null : placeIn(String(page[i]), page[i + 1] === "" ? null : Number(page[i + 1]));
      if (place !== null) shares.at(place);
    }
    if (page.length < 2 * PAGE) return;
  }
}

/** The next page of what is untold, as it is at this instant. */
export async function tellSome(say: Say, { untold }: OwnShares): Promise<void> {
  const some = [...untold].slice(0, PAGE);
  for (const share of some) untold.delete(share);
  await say("tell", some.flatMap(toldOf));
}

/** Another gateway's open calls count as used. True: all of them do now. */
export async function lapseOf(ask: (args: readonly string[]) => Promise<Reply>): Promise<boolean> {
  for (let offset = "0"; ; ) {
    const [word, next] = await ask([offset, String(PAGE)]);
    if (word !== "more") return word === "lapsed";
    offset = String(next);
  }
}

/** What was set aside on these is free for others. Not while a hold is under way, whose answer would say that it is still there. */
export async function giveBack(say: Say, shares: OwnShares, isIdle: (share: Share) => boolean): Promise<void> {
  const idle: Share[] = [];
  for (const share of shares.all()) if (share.slice > 0 && share.asking === 0 && isIdle(share)) idle.push(share);
  for (let at = 0; at < idle.length; at += PAGE) {
    const some = idle.slice(at, at + PAGE).filter(({ asking }) => asking === 0);
    for (const share of some) share.slice = 0;
    if (some.length > 0) await say("release", some.map(nameOf));
  }
}

function toldOf(share: Share): string[] {
  const { windowEndMs, committed, held, debt, slice } = share;
  return [nameOf(share), windowEndMs === null ? "" : String(windowEndMs), ...[committed, held + slice, debt, slice].map(String)];
}
