import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createSeal } from "../../src/seal.ts";

describe("what the gateway seals", () => {
  const rootKey = randomBytes(32);
  const seal = createSeal(rootKey);
  const sealed = seal.seal("session", "agt_1 tickets", "abc ü");

  test("comes back to its holder, also from another gateway with the same key", () => {
    expect(seal.open("session", "agt_1 tickets", sealed)).toBe("abc ü");
    expect(createSeal(Buffer.from(rootKey)).open("session", "agt_1 tickets", sealed)).toBe("abc ü");
  });

  test("opens for no other holder, purpose or key", () => {
    expect(seal.open("session", "agt_2 tickets", sealed)).toBeNull();
    expect(seal.open("cursor", "agt_1 tickets", sealed)).toBeNull();
    expect(createSeal(randomBytes(32)).open("session", "agt_1 tickets", sealed)).toBeNull();
  });

  test("shows nothing of itself, and is never the same twice", () => {
    expect(Buffer.from(sealed, "base64url").includes("abc")).toBe(false);
    expect(seal.seal("session", "agt_1 tickets", "abc ü")).not.toBe(sealed);
  });

  test("does not open once a character of it has changed, gone or come", () => {
    for (let i = 0; i < sealed.length; i++) {
      const other = sealed[i] === "A" ? "B" : "A";
      expect(seal.open("session", "agt_1 tickets", sealed.slice(0, i) + other + sealed.slice(i + 1))).toBeNull();
      expect(seal.open("session", "agt_1 tickets", sealed.slice(0, i))).toBeNull();
    }
    for (const stranger of ["", "A", `${sealed}A`, `${sealed}=`, ` ${sealed}`, "a.b", "x".repeat(70_000)])
      expect(seal.open("session", "agt_1 tickets", stranger)).toBeNull();
  });
});
