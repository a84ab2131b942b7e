import { expect, test } from "vitest";
import { createCallRates } from "../../src/call-rates.ts";

test("a rate counts the calls of one agent in the last sixty seconds, and no others", () => {
  const rates = createCallRates();
  const at = (agent: string, seconds: number): number | null => {
    const call = `${agent}-${seconds}-${Math.random()}`;
    rates.note(agent, call, seconds * 1_000);
    const rate = rates.rateOf(call);
    rates.forget(call);
    expect(rates.rateOf(call)).toBeNull();
    return rate;
  };
  expect([100, 100, 130, 159, 160, 190, 1_000].map((second) => at("a", second))).toEqual([1, 2, 3, 4, 3, 3, 1]);
  expect(at("b", 1_000)).toBe(1);
  // A clock that goes back loses nothing.
  expect(at("a", 990)).toBe(2);
  for (let i = 0; i < 10_050; i++) at(`agent-${i}`, 1_000);
  expect(at("b", 1_000)).toBe(1);
});
