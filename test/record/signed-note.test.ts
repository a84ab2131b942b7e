import fc from "fast-check";
import { expect, test } from "vitest";
import { checkpointIn, checkpointText, signatureProblem } from "../../src/call/record/checkpoint.ts";
import { leafHash } from "../../src/call/record/merkle.ts";
import { noteIn, signerIn, signerOf, signersOf, signingKeyText, verifierIn } from "../../src/call/record/signed-note.ts";

const must = <T>(value: T | null): T => {
  if (value === null) throw new Error("it is null");
  return value;
};

/** From c2sp.org/signed-note. */
const FOREIGN_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const FOREIGN_NOTE = `This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;

test("the example of the specification verifies with its key", () => {
  expect(signersOf(must(noteIn(FOREIGN_NOTE)), [must(verifierIn(FOREIGN_KEY))])).toHaveLength(1);
  expect(signersOf(must(noteIn(FOREIGN_NOTE.replace("message", "messagf"))), [must(verifierIn(FOREIGN_KEY))])).toBeNull();
});

const signer = signerOf("tollgate/gw-1", Buffer.alloc(32, 7));
const root = leafHash(Buffer.from("x"));
const note = signer.sign(checkpointText("tollgate/gw-1", 12, root));

test("what was signed is read back with its size and root, and verifies", () => {
  const checkpoint = must(checkpointIn(note));
  expect(checkpoint).toMatchObject({ origin: "tollgate/gw-1", size: 12, root });
  expect(signatureProblem(checkpoint, must(verifierIn(signer.vkey)))).toBeNull();
});

test("no byte of a signed checkpoint can be another one", () => {
  const bytes = Buffer.from(note);
  const verifier = must(verifierIn(signer.vkey));
  for (let i = 0; i < bytes.length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[i] = (flipped[i] ?? 0) ^ (1 << bit);
      const checkpoint = checkpointIn(flipped.toString("utf8"));
      expect(checkpoint === null || signatureProblem(checkpoint, verifier) !== null, `byte ${i}, bit ${bit}`).toBe(true);
    }
  }
});

test("a checkpoint of another log, or of nobody, is not taken for this one's", () => {
  const verifier = must(verifierIn(signer.vkey));
  const other = signerOf("tollgate/gw-2", Buffer.alloc(32, 8));
  const theirs = must(checkpointIn(other.sign(checkpointText("tollgate/gw-2", 12, root))));
  expect(signatureProblem(theirs, verifier)).toContain("tollgate/gw-2");
  const claimed = must(checkpointIn(other.sign(checkpointText("tollgate/gw-1", 12, root))));
  expect(signatureProblem(claimed, verifier)).toContain("has not signed it");
  const impostor = signerOf("tollgate/gw-1", Buffer.alloc(32, 9));
  const both = signer.sign(checkpointText("tollgate/gw-1", 12, root)) + impostor.sign("x\n").split("\n\n")[1];
  expect(signatureProblem(must(checkpointIn(both)), verifier)).toBeNull();
});

test.each([
  ["no line feed at the end", note.slice(0, -1)],
  ["a leading zero", note.replace("\n12\n", "\n012\n")],
  ["a short root", note.replace(root.toString("base64"), "AAAA")],
  ["a control character", note.replace("gw-1\n12", "gw-1\u0007\n12")],
  ["an empty log with a root", signer.sign(checkpointText("tollgate/gw-1", 0, root))],
  ["an extension that is empty", note.replace("\n\n", "\n\n\n\n")],
  ["no signature", checkpointText("tollgate/gw-1", 12, root)],
])("a checkpoint with %s is none", (_, text) => {
  expect(checkpointIn(text)).toBeNull();
});

test("a signing key comes back from its file, and a damaged one does not", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(), (seed, at) => {
      const text = signingKeyText("tollgate/gw-1", seed);
      expect(signerIn(text)?.vkey).toBe(signerOf("tollgate/gw-1", seed).vkey);
      const i = at % (text.length - 1);
      const damaged = `${text.slice(0, i)}${text[i] === "A" ? "B" : "A"}${text.slice(i + 1)}`;
      expect(signerIn(damaged)?.vkey).not.toBe(signerOf("tollgate/gw-1", seed).vkey);
    }),
    { numRuns: 50 },
  );
});
