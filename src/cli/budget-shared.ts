/** `budget shared status|force|forget`: the ledger that several gateways count in, and a word where it waits for one that does not come. */
import type { Command } from "commander";
import { adminClient } from "./admin-client.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { table } from "./table.ts";

type Status = {
  readonly connected: boolean;
  readonly open: boolean;
  readonly epoch: number;
  readonly gateways: readonly string[];
  readonly waiting_for: readonly string[];
  readonly set_aside: number;
  readonly signs: readonly { readonly gateway: string; readonly last_sign: string; readonly age_ms: number; readonly counts: boolean }[];
};
type WithReason = CommonOptions & { readonly reason: string };

export function registerBudgetShared(budget: Command, io: Io): void {
  const shared = branch(budget, "shared", "the ledger that several gateways count in (shared.redis)");
  leaf(shared, "status", "whether it answers, and whom it waits for; exit 1 while it refuses", "tollgate budget shared status").action(
    (options: CommonOptions) => status(options, io),
  );
  leaf(
    shared,
    "force",
    "open it without the gateways whom it waits for; what they have used and not told may be spent again",
    'tollgate budget shared force --reason "gw-2 is lost with its disk"',
  )
    .requiredOption("--reason <text>", "why, for the record")
    .action((options: WithReason) => force(options, io));
  leaf(
    shared,
    "forget <gateway>",
    "wait no longer for a gateway that is gone for good; refused while it is alive",
    'tollgate budget shared forget gw-2 --reason "replaced by gw-3"',
  )
    .requiredOption("--reason <text>", "why, for the record")
    .action((gateway: string, options: WithReason) => forget(gateway, options, io));
}

async function status(options: CommonOptions, io: Io): Promise<void> {
  const told = await adminClient(configOf(options, io), io).get<Status>("/budgets/shared");
  const state = !told.connected ? "away" : told.open ? "open" : "being filled again";
  print(io, options, told, () => {
    const ledger = table(
      ["STATE", "EPOCH", "WAITING FOR", "SET ASIDE HERE"],
      [[state, told.epoch, told.waiting_for.join(", "), told.set_aside]],
    );
    const rows = told.gateways.map((gateway) => {
      const sign = told.signs.find((each) => each.gateway === gateway);
      const heard = sign === undefined ? "nothing heard" : sign.counts ? "counts" : "has stopped";
      return [gateway, heard, sign?.last_sign, sign === undefined ? null : Math.round(sign.age_ms / 1000)];
    });
    return `${ledger}\n\n${table(["GATEWAY", "STATE", "LAST SIGN OF LIFE", "SECONDS AGO"], rows)}`;
  });
  if (!told.open) throw new Exit(EXIT.no, "calls on budgets with a ceiling are refused until it is open");
}

async function force(options: WithReason, io: Io): Promise<void> {
  const { reason } = options;
  const admin = adminClient(configOf(options, io), io);
  const answer = await admin.post<{ without: readonly string[]; was_open: boolean }>("/budgets/shared/force", { reason });
  print(io, options, answer, () => {
    if (answer.was_open) return "it is open: nothing was to be done, and nothing is recorded";
    return answer.without.length === 0 ? "open; nobody was missing" : `open without ${answer.without.join(", ")}: counted once it returns`;
  });
}

async function forget(gateway: string, options: WithReason, io: Io): Promise<void> {
  const body = { gateway, reason: options.reason };
  const answer = await adminClient(configOf(options, io), io).post<{ forgotten: string }>("/budgets/shared/forget", body);
  print(io, options, answer, () => `${answer.forgotten} is forgotten; what was told of it stays counted until its windows end`);
}
