/** Pure. RFC 9396: the part of a budget that a token request asks for, and the parts that a token of ours carries. */
import { parseStrict } from "../../call/authenticate/strict-json.ts";
import { GrantRefused } from "./grant-refused.ts";

export const BUDGET_DETAIL = "tollgate_budget";

export type WantedBudget = { readonly meter: string; readonly limit: number };

/** As it stands in a token and in the answer; `identifier`: of the part that was set aside. */
export type BudgetDetail = WantedBudget & { readonly type: typeof BUDGET_DETAIL; readonly identifier: string };

/** One part for each meter: more have no use, and each is a counter and a record. */
const DETAILS_MAX = 8;

/** Empty: nothing is asked for. */
export function wantedBudgets(text: string | undefined, meters: ReadonlySet<string>): readonly WantedBudget[] {
  if (text === undefined) return [];
  const list = parseStrict(Buffer.from(text));
  if (!Array.isArray(list) || list.length === 0 || list.length > DETAILS_MAX)
    throw invalid(`authorization_details must be a JSON list of 1 to ${DETAILS_MAX} objects`);
  const wanted = list.map((each) => wantedIn(each, meters));
  if (new Set(wanted.map(({ meter }) => meter)).size < wanted.length) throw invalid("authorization_details names a meter twice");
  return wanted;
}

function wantedIn(detail: unknown, meters: ReadonlySet<string>): WantedBudget {
  if (typeof detail !== "object" || detail === null || Array.isArray(detail))
    throw invalid("authorization_details holds what is no object");
  const { type, meter, limit, ...rest } = detail as Record<string, unknown>;
  if (type !== BUDGET_DETAIL) throw invalid(`authorization_details: the only type here is ${BUDGET_DETAIL}`);
  // RFC 9396 section 5: what is not understood is not granted.
  if (Object.keys(rest).length > 0) throw invalid(`authorization_details: ${BUDGET_DETAIL} has meter and limit, and nothing else`);
  if (typeof meter !== "string" || !meters.has(meter))
    throw invalid(`authorization_details: meter must be one of ${[...meters].join(", ")}`);
  if (typeof limit !== "number" || !Number.isSafeInteger(limit) || limit < 1)
    throw invalid("authorization_details: limit must be a whole number from 1");
  return { meter, limit };
}

/** Of a token that is ours: nobody else's are read. */
export function detailsOf(claims: Readonly<Record<string, unknown>>): readonly BudgetDetail[] {
  const { authorization_details: details } = claims;
  return Array.isArray(details) ? details.filter(isBudgetDetail) : [];
}

function isBudgetDetail(detail: unknown): detail is BudgetDetail {
  if (typeof detail !== "object" || detail === null) return false;
  const { type, identifier, meter, limit } = detail as Record<string, unknown>;
  return type === BUDGET_DETAIL && typeof identifier === "string" && typeof meter === "string" && typeof limit === "number";
}

/**
 * What a token carries that is made from these: all that they carry, so that no bound is lost on the way; but a part of one that the
 * subject's token carries stands in its place.
 */
export function carriedOn(
  subject: readonly BudgetDetail[],
  actor: readonly BudgetDetail[],
  wanted: readonly WantedBudget[],
): BudgetDetail[] {
  const kept = subject.filter(({ meter }) => !wanted.some((each) => each.meter === meter));
  return [...kept, ...actor.filter(({ identifier }) => !subject.some((each) => each.identifier === identifier))];
}

function invalid(description: string): GrantRefused {
  return new GrantRefused("invalid_authorization_details", description);
}
