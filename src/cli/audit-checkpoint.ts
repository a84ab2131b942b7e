/** `audit key|checkpoint|prove`: what is handed to somebody outside so that they can verify by themselves. */
import { closeSync, openSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import { openBooks } from "../call/record/books.ts";
import type { StoredCheckpoint } from "../call/record/checkpoint-query.ts";
import { readLogKey } from "../call/record/log-key.ts";
import type { ProofAnswer } from "../call/record/proof-query.ts";
import { openReader } from "../call/record/store.ts";
import { type AdminClient, adminClient, Refused } from "./admin-client.ts";
import { askOrRead } from "./books.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { inFolder } from "./folder-books.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { grouped, plain } from "./table.ts";

type ProveOptions = CommonOptions & { readonly file?: string; readonly out?: string };
type Proven = { readonly sequence: number; readonly size: number; readonly key: string; readonly proof: string };

export function registerCheckpoint(audit: Command, io: Io): void {
  leaf(audit, "key", "the verifier key of the log: give it to whoever is to believe it", "tollgate audit key").action(
    async (options: CommonOptions) => {
      const config = configOf(options, io);
      const own = () => {
        const key = readLogKey(config.logKey)?.vkey;
        if (key === undefined) throw new Exit(EXIT.away, `${config.logKey} does not exist: it is made when the gateway first starts`);
        return { key };
      };
      const answer = await askOrRead(config, io, () => adminClient(config, io).get<{ key: string }>("/audit/key"), own);
      print(io, options, answer, () => answer.key);
    },
  );
  leaf(
    audit,
    "checkpoint",
    "sign what is recorded now and print the checkpoint; without a gateway, the last one that was signed",
    "tollgate audit checkpoint",
  ).action(async (options: CommonOptions) => {
    const config = configOf(options, io);
    const last = () => {
      const [latest] = inFolder(config, (books) => books.checkpoints(1, null));
      if (latest === undefined) throw new Exit(EXIT.no, "nothing has been signed yet: the gateway signs when it starts");
      return latest;
    };
    const checkpoint = await askOrRead(config, io, () => signNow(adminClient(config, io)), last);
    print(io, options, checkpoint, () => checkpoint.note.trimEnd());
  });
  leaf(
    audit,
    "prove <id>",
    "a file that proves a call, a record (by its sequence number) or a usage event to anybody, without the database",
    "tollgate audit prove call_01jd8... --out dispute.tlog-proof",
  )
    .option("--file <file>", "a copied journal.db or a backup (default: the running gateway, or the data folder)")
    .option("--out <file>", "where to write it; never overwritten (default: print it)")
    .action((id: string, options: ProveOptions) => prove(id, options, io));
}

async function prove(id: string, options: ProveOptions, io: Io): Promise<void> {
  const proven = options.file === undefined ? await proveHere(id, options, io) : provenIn(proofInCopy(options.file, id), id);
  if (options.out !== undefined) writeNew(options.out, proven.proof);
  const { sequence, size, key } = proven;
  print(io, options, proven, () =>
    options.out === undefined
      ? proven.proof.trimEnd()
      : [
          `wrote ${options.out}: record ${sequence} in the log of ${grouped(size)} records`,
          `Verify it anywhere: tollgate audit verify --proof ${options.out} --key ${key}`,
        ]
          .map(plain)
          .join("\n"),
  );
}

function proveHere(id: string, options: ProveOptions, io: Io): Promise<Proven> {
  const config = configOf(options, io);
  const admin = adminClient(config, io);
  const ask = async () => {
    // What was recorded since the last checkpoint is not covered yet. Where nothing can be signed now, an older one may do.
    await signNow(admin).catch((fault: unknown) => {
      if (!(fault instanceof Refused)) throw fault;
    });
    return admin.get<Proven>(`/audit/proofs/${encodeURIComponent(id)}`);
  };
  return askOrRead(config, io, ask, () =>
    provenIn(
      inFolder(config, (books) => books.proof(id)),
      id,
    ),
  );
}

function signNow(admin: AdminClient): Promise<StoredCheckpoint> {
  return admin.post<StoredCheckpoint>("/audit/checkpoints", undefined);
}

function proofInCopy(file: string, id: string): ProofAnswer {
  try {
    const store = openReader(file);
    try {
      return openBooks(store).proof(id);
    } finally {
      store.close();
    }
  } catch (fault) {
    throw new Exit(EXIT.no, `${file} cannot be read as a journal: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}

function provenIn(answer: ProofAnswer, id: string): Proven {
  if (answer.kind === "proof") return answer;
  if (answer.kind === "unknown") throw new Exit(EXIT.no, `there is no record of ${id}`);
  if (answer.kind === "purged") throw new Exit(EXIT.no, `record ${answer.sequence} was purged: its leaf is there, and no word of it`);
  throw new Exit(
    EXIT.no,
    `record ${answer.sequence} is there, and no signed checkpoint covers it: nothing in this file proves it to others. A running gateway signs one first`,
  );
}

export function writeNew(file: string, text: string): void {
  try {
    const handle = openSync(file, "wx", 0o600);
    writeFileSync(handle, text, { flush: true });
    closeSync(handle);
  } catch (fault) {
    throw new Exit(EXIT.no, `${file} cannot be written: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}
