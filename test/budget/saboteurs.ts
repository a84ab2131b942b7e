/** Ledgers with a planted bug each: a proof that does not find them proves nothing. */
import type { Draw } from "../../src/call/authorize/permit.ts";
import type { Adjusting, Amounts, Ledger, Reservation, Settlement } from "../../src/call/budget/reservation.ts";
import { isRefusal } from "../../src/refusal.ts";

type Whole = Ledger & Adjusting;
type Hold = Ledger["hold"];

const withHold = (ledger: Ledger, hold: (inner: Hold) => Hold): Ledger => ({
  hold: hold(ledger.hold.bind(ledger)),
  weigh: ledger.weigh.bind(ledger),
  balances: ledger.balances.bind(ledger),
});
const withDraws = (change: (draw: Draw) => Draw) => (ledger: Ledger) =>
  withHold(ledger, (inner) => (id, draws, amounts, nowMs) => inner(id, draws.map(change), amounts, nowMs));
/** Every reservation is changed; of a refusal nothing. */
const withReservation = (change: (reservation: Reservation, ledger: Whole) => Partial<Reservation>) => (ledger: Ledger) =>
  withHold(ledger, (inner) => async (...asked) => {
    const held = await inner(...asked);
    if (isRefusal(held)) return held;
    const plain: Reservation = {
      callId: held.callId,
      lines: held.lines,
      metersResult: held.metersResult,
      bytesMax: held.bytesMax,
      sent: () => held.sent(),
      post: (usage) => held.post(usage),
      postUnknown: () => held.postUnknown(),
      voidUnsent: () => held.voidUnsent(),
      [Symbol.dispose]: () => held[Symbol.dispose](),
    };
    return { ...plain, ...change(held, ledger as Whole) };
  });
const voided = ({ lines }: Reservation): Settlement => ({
  state: "voided",
  lines: lines.map((line) => ({ line, posted: 0, debt: 0, spent: 0, remaining: 0, crossed: [] })),
  withheld: null,
});

export const SABOTEURS: Readonly<Record<string, (ledger: Ledger) => Ledger>> = {
  "skips a release": withReservation((held) => ({ voidUnsent: () => voided(held) })),
  "settles twice": withReservation((held, ledger) => ({
    async post(usage: Amounts) {
      const settlement = await held.post(usage);
      ledger.apply(settlement.lines);
      return settlement;
    },
  })),
  "counts in the wrong window": (ledger) => withHold(ledger, (inner) => (id, draws, amounts) => inner(id, draws, amounts, 0)),
  "lets one more than the limit pass": withDraws((draw) => ({ ...draw, limit: draw.limit + 1 })),
  "refuses what would just fit": withDraws((draw) => ({ ...draw, limit: draw.limit - 1 })),
  "keeps what it held before it refused": (ledger) =>
    withHold(ledger, (inner) => async (id, draws, amounts, nowMs) => {
      const held = await inner(id, draws, amounts, nowMs);
      if (isRefusal(held) && draws.length > 1) await inner(id, draws.slice(0, 1), amounts, nowMs);
      return held;
    }),
  "charges nothing where the fate is unknown": withReservation((held) => ({ postUnknown: () => held.voidUnsent() })),
  "posts less than was used": withReservation((held) => ({
    post: (usage: Amounts) => held.post(Object.fromEntries(Object.entries(usage).map(([meter, n]) => [meter, Math.floor(n / 2)]))),
  })),
  "delivers what a budget cannot carry": withDraws((draw) => ({ ...draw, overrun: "deliver" })),
  "names another budget than the first that refuses": (ledger) =>
    withHold(ledger, (inner) => (id, draws, amounts, nowMs) => inner(id, draws.toReversed(), amounts, nowMs)),
  "forgets the older half of a rolling window": withDraws((draw) =>
    draw.period === "rolling" ? { ...draw, rollingMs: draw.rollingMs / 2 } : draw,
  ),
  "forgets debts": withReservation((held, ledger) => ({
    async post(usage: Amounts) {
      const settlement = await held.post(usage);
      ledger.apply(settlement.lines.map(({ line, debt }) => ({ line, posted: 0, debt: -debt })));
      return settlement;
    },
  })),
  "goes on after a crash without what was committed last": (ledger) => {
    // Of each new process the first posting is lost.
    let lost = false;
    return withReservation((held, whole) => ({
      async post(usage: Amounts) {
        const settlement = await held.post(usage);
        if (!lost) whole.apply(settlement.lines.map(({ line, posted }) => ({ line, posted: -posted, debt: 0 })));
        lost = true;
        return settlement;
      },
    }))(ledger);
  },
  "heeds a limit as it was first": (ledger) => {
    const first = new Map<string, number>();
    return withDraws((draw) => {
      const limit = first.get(draw.budget) ?? draw.limit;
      first.set(draw.budget, limit);
      return { ...draw, limit };
    })(ledger);
  },
};
