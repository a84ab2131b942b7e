/** `leak report`: ends the credential or token that has leaked, and lists what it was used for. */
import type { Command } from "commander";
import { adminClient } from "./admin-client.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { table } from "./table.ts";

type LeakJson = {
  readonly kind: string;
  readonly id: string;
  readonly agent: string | null;
  readonly uses: readonly {
    readonly kind: string;
    readonly certain: boolean;
    readonly call_id: string | null;
    readonly time: string;
    readonly server: string | null;
    readonly target: { readonly name: string } | null;
    readonly decision: string | null;
    readonly reason: string | null;
  }[];
};

export function registerLeak(program: Command, io: Io): void {
  const leak = branch(program, "leak", "credentials and tokens that have become known");
  leaf(
    leak,
    "report",
    "end the credential, token or admin key whose text is on standard input, and list what it was used for",
    "tollgate leak report --since 2026-11-01 < leaked.txt",
  )
    .option("--since <time>", "from this RFC 3339 time or date on (default: all)")
    .option("--reason <text>", "where it was found, for the record")
    .action(async (options: CommonOptions & { since?: string; reason?: string }) => {
      // An argument would stand in the shell's history and in the list of processes.
      const text = ((await io.input?.()) ?? "").trim();
      if (text.length < 8) throw new Exit(EXIT.usage, "write the leaked text to standard input: tollgate leak report < leaked.txt");
      const admin = adminClient(configOf(options, io), io);
      const found = await admin.post<LeakJson>("/leaks", { text, since: options.since, reason: options.reason });
      print(io, options, found, () => {
        const head = `revoked  the ${found.kind} ${found.id}${found.agent === null ? "" : ` of ${found.agent}`}`;
        if (found.uses.length === 0) return `${head}\nnothing is known that it was used for`;
        const rows = found.uses.map((use) => [
          use.time,
          use.call_id ?? use.kind,
          use.server,
          use.target?.name,
          use.decision,
          use.reason,
          use.certain ? "certain" : "possible",
        ]);
        return `${head}\n${table(["TIME", "CALL", "SERVER", "WHAT", "DECISION", "REASON", "USE"], rows)}`;
      });
    });
}
