/** Has each new checkpoint cosigned by a witness (c2sp.org/tlog-witness): it signs nothing that takes back what it has signed before. */
import type { Checkpoint } from "./checkpoint.ts";
import type { Cosigned } from "./log-signing.ts";
import { noteIn, signatureIn, signersOf, type Verifier } from "./signed-note.ts";

export type WitnessOptions = {
  /** The submission prefix. */
  readonly url: string;
  readonly verifier: Verifier;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Up to which size it has signed, as this gateway remembers it. */
  readonly witnessed: () => Promise<number>;
  /** Base64; null: there are no such sizes. */
  readonly consistency: (from: number, to: number) => Promise<readonly string[] | null>;
  readonly keep: (cosigned: Cosigned) => Promise<void>;
};

/** `forked`: the witness has signed a log that this one is not the continuation of. */
export type Witnessing =
  | { readonly kind: "cosigned"; readonly size: number }
  | { readonly kind: "failed" | "forked"; readonly why: string };

const ANSWER_TIMEOUT_MS = 10_000;
/** 64 signatures of the largest kind have less. */
const ANSWER_CHARACTERS_MAX = 262_144;

/** Never throws: a witness that is away holds up nobody. */
export async function askWitness(checkpoint: Checkpoint, options: WitnessOptions): Promise<Witnessing> {
  try {
    const known = Math.min(await options.witnessed(), checkpoint.size);
    const first = await submit(checkpoint, known, options);
    if (first.status !== 409) return await taken(checkpoint, first, options);
    const size = sizeIn(first.text);
    if (size === null) return { kind: "failed", why: "the witness names no size" };
    if (size > checkpoint.size)
      return {
        kind: "forked",
        why: `the witness has signed ${size} records of this log, and there are ${checkpoint.size}: the journal is an older copy`,
      };
    return await taken(checkpoint, await submit(checkpoint, size, options), options);
  } catch (fault) {
    const cause = fault instanceof Error && fault.cause instanceof Error ? fault.cause : fault;
    return { kind: "failed", why: cause instanceof Error ? cause.message : String(cause) };
  }
}

type Said = { readonly status: number; readonly text: string };

async function submit(checkpoint: Checkpoint, old: number, { url, fetch, consistency }: WitnessOptions): Promise<Said> {
  const path = await consistency(old, checkpoint.size);
  if (path === null) throw new Error(`there is no proof from ${old} to ${checkpoint.size}`);
  const answer = await fetch(`${url.replace(/\/$/, "")}/add-checkpoint`, {
    method: "POST",
    headers: { "content-type": "text/plain; charset=utf-8" },
    body: `old ${old}\n${path.map((hash) => `${hash}\n`).join("")}\n${checkpoint.written}`,
    redirect: "manual",
    signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
  });
  return { status: answer.status, text: await answer.text() };
}

async function taken(checkpoint: Checkpoint, { status, text }: Said, { verifier, keep }: WitnessOptions): Promise<Witnessing> {
  // 422: the proof does not lead from what it has signed to this. Nothing else says so.
  if (status === 422) return { kind: "forked", why: "the witness has signed another log of this name: this one does not continue it" };
  if (status !== 200) return { kind: "failed", why: `the witness answered ${status}` };
  if (text.length > ANSWER_CHARACTERS_MAX) return { kind: "failed", why: "the witness's answer is too long" };
  for (const line of text.split("\n")) {
    const signature = signatureIn(line);
    if (signature?.name !== verifier.name || signature.id !== verifier.id) continue;
    const note = noteIn(`${checkpoint.note.text}\n${line}\n`);
    if (note === null || signersOf(note, [verifier])?.length !== 1) return { kind: "failed", why: "the witness's signature is not good" };
    await keep({ size: checkpoint.size, witness: verifier.vkey, line });
    return { kind: "cosigned", size: checkpoint.size };
  }
  return { kind: "failed", why: `the witness has not signed with the key ${verifier.vkey}` };
}

function sizeIn(text: string): number | null {
  const [, digits] = /^(0|[1-9][0-9]{0,15})\n$/.exec(text) ?? [];
  return digits === undefined ? null : Number(digits);
}
