/** `backup` and `restore`: the books of a gateway as one file, and back again as the beginning of new ones. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { writeBackup } from "../call/record/backup.ts";
import { originOf } from "../call/record/checkpoint.ts";
import { auditOfAct } from "../call/record/compose.ts";
import { readLogKey } from "../call/record/log-key.ts";
import { restoreBackup } from "../call/record/restore.ts";
import { JOURNAL_FILE } from "../call/record/store.ts";
import { verifyLog } from "../call/record/verify.ts";
import type { Config } from "../config.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { grouped, plain } from "./table.ts";

export function registerBackup(program: Command, io: Io): void {
  leaf(
    program,
    "backup <file>",
    "copy the books (journal, registry, keys of digests) into one file while the gateway runs or not; never overwrites",
    "tollgate backup books-monday.db",
  ).action((file: string, options: CommonOptions) => backup(file, options, io));
  leaf(
    program,
    "restore <file>",
    "verify a backup and make it the data folder, which must be new; the books go on under a new id",
    "tollgate restore books-monday.db",
  ).action((file: string, options: CommonOptions) => restore(file, options, io));
}

function backup(file: string, options: CommonOptions, io: Io): void {
  const config = configOf(options, io);
  if (!existsSync(join(config.data, JOURNAL_FILE)))
    throw new Exit(EXIT.away, `${config.data} holds no journal: it is made when the gateway first starts`);
  const made = reason(EXIT.no, () => writeBackup(config.data, file));
  const elsewhere =
    config.shared.postgres === null ? [] : ["The registry is in PostgreSQL (shared.postgres): back it up there, right after this."];
  print(io, options, { file, ...made }, () =>
    [
      plain(`wrote ${file}: ${grouped(made.records)} records, ${grouped(made.bytes)} bytes; with ${made.parts.join(" and ")}`),
      "It holds hashed credentials and the keys of digests, and no key that signs: keep it as you keep the data folder.",
      ...elsewhere,
      plain(`Look at it: tollgate audit verify --file ${file}`),
    ].join("\n"),
  );
}

async function restore(file: string, options: CommonOptions, io: Io): Promise<void> {
  const config = configOf(options, io);
  if (!existsSync(file)) throw new Exit(EXIT.usage, `${file} does not exist`);
  const verdict = await verifyLog(file).catch((fault: Error) => {
    throw new Exit(EXIT.no, `${file} cannot be read as a journal (${fault.message}): nothing was restored`);
  });
  if (!verdict.ok)
    throw new Exit(EXIT.no, `${file} does not verify, and nothing was restored. What is wrong: tollgate audit verify --file ${file}`);
  const { configVersion } = config;
  const record = auditOfAct("log.restored", "cli", null, { now: Date.now, configVersion: () => configVersion });
  const restored = reason(EXIT.no, () => restoreBackup(file, config.data, record));
  print(io, options, { data: config.data, ...restored }, () =>
    [
      plain(`restored ${grouped(restored.records)} records of ${restored.parent} into ${config.data}`),
      plain(`They go on as ${restored.source}: a log of its own, with a key of its own, that names the one it continues.`),
      "What is new with the next start: keys.json (clients ask for new tokens), admin.key, the key of the log (tell whoever keeps it: tollgate audit key).",
      ...keyLines(config, restored.source),
    ].join("\n"),
  );
}

/** A key outside of the data folder is the old log's, and signs no other. */
function keyLines(config: Config, source: string): string[] {
  try {
    const name = readLogKey(config.logKey)?.name ?? null;
    if (name === null || name === originOf(source)) return [];
    return [plain(`logKey: ${config.logKey} is the key of ${name}, which never signs again. Name another file, or nothing is signed.`)];
  } catch (fault) {
    return [plain(`logKey: ${fault instanceof Error ? fault.message : String(fault)}`)];
  }
}

function reason<T>(code: number, act: () => T): T {
  try {
    return act();
  } catch (fault) {
    throw new Exit(code, fault instanceof Error ? fault.message : String(fault));
  }
}
