/** `approval list|approve|deny`: what waits for a person: calls, and rights that agents ask for. */
import type { Command } from "commander";
import { type AdminClient, adminClient, allPages } from "./admin-client.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { checkWith, placeFor, policyText, putInPlace } from "./proposed-rule.ts";
import { grouped, plain } from "./table.ts";

type ApprovalJson = {
  readonly id: string;
  readonly state: string;
  readonly target: string;
  readonly agent: { readonly id: string; readonly name: string | null; readonly owner: string | null; readonly purpose: string | null };
  readonly arguments: string | null;
  readonly arguments_bytes: number;
  readonly arguments_sha256: string;
  readonly rule: { readonly name: string; readonly file: string; readonly line: number } | null;
  readonly approvers: readonly string[];
  readonly expires_at: string;
  readonly decided_at: string | null;
  readonly decided_by: string | null;
  readonly decided_reason: string | null;
  readonly link: string | null;
};

type RequestJson = {
  readonly id: string;
  readonly state: string;
  readonly tool: string;
  readonly agent_id: string;
  readonly reason: string;
  readonly until: string | null;
  readonly note: string | null;
  readonly decided_at: string | null;
  readonly decided_by: string | null;
  readonly decided_reason: string | null;
  readonly entitlement: string | null;
};

type DecideOptions = CommonOptions & { readonly reason: string; readonly write?: string | true };

export function registerApproval(program: Command, io: Io): void {
  const approval = branch(program, "approval", "what waits for a person: calls, and rights that agents ask for");
  leaf(approval, "list", "what waits, with a link to decide each call that this key may decide", "tollgate approval list")
    .option("--state <state>", "pending, approved, denied or expired", "pending")
    .action((options: CommonOptions & { state: string }) => list(options, io));
  leaf(
    approval,
    "approve <id>",
    "approve a call, which then goes through once, or a right that an agent asks for",
    'tollgate approval approve req_01jd8... --reason "for the audit" --write',
  )
    .requiredOption("--reason <text>", "why, for the record")
    .option("--write [file]", "of a right: put its rule into a new policy file (default: approved-ID.yaml)")
    .action((id: string, options: DecideOptions) => (isRight(id) ? approveRight(id, options, io) : decide("approve", id, options, io)));
  leaf(approval, "deny <id>", "deny a call, or a right that an agent asks for", 'tollgate approval deny apr_01jd8... --reason "too dear"')
    .requiredOption("--reason <text>", "why, for the record")
    .action((id: string, options: DecideOptions) => decide("deny", id, options, io));
}

async function list(options: CommonOptions & { state: string }, io: Io): Promise<void> {
  const admin = adminClient(configOf(options, io), io);
  const filter: [string, string][] = [["state", options.state]];
  const approvals = await allPages<ApprovalJson>(admin, "/approvals", filter);
  // A right that is asked for has no end before it is decided.
  const access_requests = options.state === "expired" ? [] : await allPages<RequestJson>(admin, "/access-requests", filter);
  print(io, options, { approvals, access_requests }, () => {
    const blocks = [...approvals.map(approvalBlock), ...access_requests.map(requestBlock)];
    return blocks.length === 0 ? `nothing is ${options.state}` : blocks.map((lines) => lines.map(plain).join("\n")).join("\n\n");
  });
}

function approvalBlock(row: ApprovalJson): string[] {
  const { id, state, agent, target, rule, approvers, expires_at } = row;
  const shown = row.arguments ?? `${grouped(row.arguments_bytes)} bytes, SHA-256 ${row.arguments_sha256}`;
  return [
    `${id}  ${state}  ${target}`,
    `  agent      ${agent.name ?? agent.id}, owner ${agent.owner ?? "unknown"}: ${agent.purpose ?? "unknown"}`,
    `  arguments  ${shown}`,
    `  rule       ${rule === null ? "none" : `${rule.name} (${rule.file}:${rule.line})`}, decided by ${approvers.join(" or ")}`,
    state === "pending" ? `  until      ${expires_at}` : decisionLine(row),
    ...(row.link === null ? [] : [`  link       ${row.link}`]),
  ];
}

function requestBlock(row: RequestJson): string[] {
  return [
    `${row.id}  ${row.state}  the right to ${row.tool}`,
    `  agent      ${row.agent_id}`,
    `  says       ${row.reason}`,
    row.state === "pending" ? `  until      ${row.note ?? row.until ?? ""}` : decisionLine(row),
  ];
}

function decisionLine({ state, decided_by, decided_at, decided_reason }: ApprovalJson | RequestJson): string {
  return decided_by === null ? `  ended      ${state}` : `  decided    ${state} by ${decided_by} at ${decided_at}: ${decided_reason}`;
}

function isRight(id: string): boolean {
  return id.startsWith("req_");
}

async function decide(verdict: "approve" | "deny", id: string, options: DecideOptions, io: Io): Promise<void> {
  if (options.write !== undefined)
    throw new Exit(EXIT.usage, "--write is for rights that agents ask for (req_...): a call has no rule to write");
  const row = await post(adminClient(configOf(options, io), io), verdict, id, options.reason);
  print(io, options, row, () => `${row.id} is ${row.state}`);
}

function post(admin: AdminClient, verdict: "approve" | "deny", id: string, reason: string): Promise<RequestJson> {
  return admin.post(`/${isRight(id) ? "access-requests" : "approvals"}/${encodeURIComponent(id)}/${verdict}`, { reason });
}

/** The rule is checked among the others before anything is decided. One that was approved before can still be written. */
async function approveRight(id: string, options: DecideOptions, io: Io): Promise<void> {
  const config = configOf(options, io);
  const admin = adminClient(config, io);
  if (options.write === undefined) {
    const row = await post(admin, "approve", id, options.reason);
    return print(io, options, row, () =>
      [`${row.id} is ${row.state}`, ...noted(row), "The rule to write:", row.entitlement ?? ""].join("\n"),
    );
  }
  const known = await admin.get<RequestJson>(`/access-requests/${encodeURIComponent(id)}`);
  if (known.entitlement === null) throw new Exit(EXIT.no, `${id} was denied before`);
  const place = placeFor(config, options.write === true ? `approved-${known.id}.yaml` : options.write);
  checkWith(place, policyText(known.entitlement), config.servers, io);
  const row = known.state === "approved" ? known : await post(admin, "approve", id, options.reason);
  const written = putInPlace(place, policyText(row.entitlement ?? ""));
  print(io, options, { ...row, written }, () => [`${row.id} is ${row.state}`, ...noted(row), `wrote ${written}`].join("\n"));
}

function noted({ note, until }: RequestJson): string[] {
  return [`it counts until ${until ?? "it is taken away"}${note === null ? "" : ` (${note})`}`];
}
