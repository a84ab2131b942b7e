/** Plays random steps on a ledger and on the reference: any difference is a violation. */
import type { Draw } from "../../src/call/authorize/permit.ts";
import type { Balance, Reservation } from "../../src/call/budget/reservation.ts";
import { isRefusal } from "../../src/refusal.ts";
import { type Random, seededRandom } from "../fixtures/seeded-random.ts";
import { callId, DAY_MS, drawOf, HOUR_MS, NOON } from "./draws.ts";
import { type Entry, Model } from "./reference-model.ts";
import { Books, type World } from "./worlds.ts";

const DRAWS: readonly Draw[] = [
  drawOf({ budget: "calls-hour", period: "hour", limit: 6 }),
  drawOf({ budget: "tokens-day", meter: "tool_tokens", limit: 300 }),
  drawOf({ budget: "deliver", meter: "tool_tokens", limit: 250, period: "hour", overrun: "deliver" }),
  drawOf({ budget: "soft", meter: "tool_tokens", limit: 150, period: "hour", hard: false }),
  drawOf({ budget: "overage", meter: "tool_tokens", limit: 100, period: "hour", hard: false, overage: 120 }),
  drawOf({ budget: "rolling", meter: "tool_tokens", limit: 400, period: "rolling", rollingMs: 2 * HOUR_MS }),
  drawOf({ budget: "money", meter: "cost_micros", limit: 1_000_000_000_000, period: "day" }),
];
/** Beyond it a play begins anew, so that summing anew stays cheap. */
const ENTRIES_MAX = 400;
/** How often all balances of a ledger that has to be asked for them are compared. */
const LOOKS = 8;

export type Played = { readonly steps: number; readonly seen: Readonly<Record<string, number>>; readonly violations: readonly string[] };

type Live = { readonly draws: readonly Draw[]; readonly reservation: Reservation; readonly rows: readonly Entry[] };

/** `world` makes a new one. Ends at the first violation of a play, and goes on with another. */
export async function playLedger(world: () => Promise<World>, seed: number, steps: number, violationsMax = 3): Promise<Played> {
  const random = seededRandom(seed);
  const seen: Record<string, number> = {};
  const violations: string[] = [];
  let done = 0;
  while (done < steps && violations.length < violationsMax) {
    const play = new Play(await world(), random, seen);
    const { count, violation } = await play.run(Math.min(steps - done, 2_000));
    done += count;
    if (violation !== null) violations.push(`${play.world.name}, seed ${seed}, step ${done}: ${violation}`);
    await play.world.close();
  }
  return { steps: done, seen, violations };
}

class Play {
  readonly world: World;
  readonly #random: Random;
  readonly #seen: Record<string, number>;
  readonly #model = new Model();
  readonly #books = new Books();
  #live: Live[] = [];
  #nowMs = NOON;
  #limits = new Map<string, number>();

  constructor(world: World, random: Random, seen: Record<string, number>) {
    this.world = world;
    this.#random = random;
    this.#seen = seen;
  }

  async run(steps: number): Promise<{ count: number; violation: string | null }> {
    let count = 0;
    try {
      await this.world.turnTo(this.#nowMs);
      for (; count < steps && this.#model.entries.length < ENTRIES_MAX; count++) {
        await this.#step();
        if (!this.world.keepsClock || count % LOOKS === 0) await this.#compare();
      }
      for (const one of this.#live.splice(0)) this.#end(one, "dispose");
      await this.#compare();
      const held = (await this.#current()).filter((row) => row.held !== 0);
      return { count, violation: held.length === 0 ? null : `at rest something is held: ${JSON.stringify(held)}` };
    } catch (thrown) {
      return { count: count + 1, violation: thrown instanceof Error ? thrown.message : String(thrown) };
    }
  }

  async #step(): Promise<void> {
    const dice = this.#random();
    if (dice < 0.4) return this.#reserve();
    if (dice < 0.92) {
      if (this.#live.length === 0) return this.#reserve();
      const one = this.#live.splice(this.#below(this.#live.length), 1)[0] as Live;
      if (dice < 0.72) return this.#post(one);
      return this.#end(one, dice < 0.8 ? "unknown" : dice < 0.88 ? "void" : "dispose");
    }
    if (dice < 0.97) return this.#turn();
    return dice < 0.985 ? this.#changeLimit() : this.#crash();
  }

  async #reserve(): Promise<void> {
    const draws = DRAWS.filter(() => this.#random() < 0.4).map((draw) => ({ ...draw, limit: this.#limits.get(draw.budget) ?? draw.limit }));
    const usage = { calls: this.#random() < 0.9 ? 1 : 0, tool_tokens: 1 + this.#below(90), cost_micros: this.#below(90_000_000_000) };
    const expected = this.#model.reserve(draws, usage, this.#nowMs);
    const answer = await this.world.ledger().hold(callId(), draws, usage, this.#nowMs);
    if (isRefusal(answer)) {
      this.#count(answer.refused);
      if (Array.isArray(expected)) throw new Error(`a false refusal: ${answer.refused} ${JSON.stringify(answer.facts)}`);
      differ("refusal", expected, { budget: answer.facts.budget, reason: answer.refused });
      return;
    }
    if (!Array.isArray(expected)) throw new Error(`held, though ${expected.budget} is ${expected.reason}`);
    this.#count("held");
    this.#live.push({ draws, reservation: answer, rows: expected });
  }

  async #post(one: Live): Promise<void> {
    const { reservation, rows, draws } = one;
    reservation.sent();
    const usage = {
      calls: rows.some(({ amount }) => amount > 0) ? 1 : 0,
      tool_tokens: this.#below(160),
      cost_micros: this.#below(100_000_000_000),
    };
    // A further round counts no call, whatever it held of anything else.
    const used = { ...usage, calls: draws.some(({ meter }, i) => meter === "calls" && rows[i]?.amount === 0) ? 0 : 1 };
    // One that reads its own clock reads it anew.
    if (this.world.keepsClock) this.#model.clockMs = Math.max(this.#model.clockMs, this.#nowMs);
    const withheld = this.#model.end(rows, draws, used);
    const settlement = await reservation.post(used);
    this.#books.post(settlement.lines);
    this.#count(withheld ? "withheld" : "posted");
    differ("withheld", withheld, settlement.withheld !== null);
  }

  #end({ reservation, rows, draws }: Live, how: "unknown" | "void" | "dispose"): void {
    const sent = how === "unknown" || this.#random() < 0.5;
    if (sent) reservation.sent();
    this.#count(how);
    const fate = how === "void" || !sent ? "void" : "unknown";
    this.#model.end(rows, draws, fate);
    if (how === "void") this.#books.post(reservation.voidUnsent().lines);
    else if (how === "unknown") this.#books.post(reservation.postUnknown().lines);
    else {
      if (sent) this.#books.post(reservation.lines.map((line) => ({ line, posted: line.amount, debt: 0 })));
      reservation[Symbol.dispose]();
    }
  }

  /** Mostly on, sometimes back, now and then a day or ten years. */
  async #turn(): Promise<void> {
    const dice = this.#random();
    const byMs =
      dice < 0.7
        ? this.#below(HOUR_MS)
        : dice < 0.85
          ? -this.#below(3 * HOUR_MS)
          : dice < 0.93
            ? DAY_MS
            : dice < 0.98
              ? -DAY_MS
              : 3_652 * DAY_MS;
    this.#nowMs += byMs;
    this.#count(Math.abs(byMs) >= DAY_MS ? "jump" : "clock");
    await this.world.turnTo(this.#nowMs);
  }

  #changeLimit(): void {
    const draw = DRAWS[this.#below(DRAWS.length)] as Draw;
    this.#limits.set(draw.budget, Math.floor(draw.limit * (0.2 + 1.5 * this.#random())));
    this.#count("limit");
  }

  async #crash(): Promise<void> {
    this.#count("crash");
    for (const { rows, reservation } of this.#live.splice(0)) {
      if (this.#random() < 0.5) continue;
      for (const row of rows) row.sent = true;
      this.#books.post(reservation.lines.map((line) => ({ line, posted: line.amount, debt: 0 })));
    }
    this.#model.crash(this.#nowMs, this.world.keepsClock);
    await this.world.restart(this.#books.open(this.#nowMs), this.#nowMs);
  }

  async #compare(): Promise<void> {
    for (const { budget, windowStartMs, committed, held, debt } of await this.#current()) {
      differ(
        `${budget} at ${windowStartMs}`,
        this.#model.sums((e) => e.budget === budget && e.startMs === windowStartMs),
        { committed, held, debt },
      );
    }
  }

  /** A window that is over decides nothing any more. */
  async #current(): Promise<readonly Balance[]> {
    const nowMs = Math.max(this.#model.clockMs, this.#nowMs);
    return (await this.world.ledger().balances()).filter(({ windowEndMs }) => windowEndMs === null || windowEndMs > nowMs);
  }

  #below(most: number): number {
    return Math.floor(this.#random() * most);
  }

  #count(what: string): void {
    this.#seen[what] = (this.#seen[what] ?? 0) + 1;
  }
}

function differ(what: string, expected: unknown, found: unknown): void {
  const [wanted, got] = [JSON.stringify(expected), JSON.stringify(found)];
  if (wanted !== got) throw new Error(`${what}: ${got} where the reference has ${wanted}`);
}
