/** The decision without the call, for those who make the call themselves. */
import { z } from "zod";
import { isRefusal, refuse } from "../../refusal.ts";
import { isInspected, type RehearseParts, rehearse } from "../me/rehearse.ts";
import { FEATURES } from "../me/reservation-story.ts";
import { verdictOf } from "../me/verdict.ts";
import { NOT_THERE, type Route, route } from "./route.ts";
import { type Find, hasOne, ONE_OF, placeOf, vouchedFor, what, whose } from "./vouched.ts";

export type AuthorizeRoutesParts = {
  /** Knows `feature` as a server. */
  readonly rehearsing: RehearseParts;
  readonly find: Find;
  readonly publicUrl: string;
  /** True while what other gateways have changed is not known. */
  readonly isStale: () => boolean;
  /** False where a server's list is read with a credential that names the agent: nobody else may have it read in its name. */
  readonly mayDefine: (server: string) => boolean;
};

const body = z
  .strictObject({ ...whose, ...what, arguments: z.record(z.string(), z.unknown()).optional().describe("As the call would send them.") })
  .refine(hasOne, ONE_OF);

export function authorizeRoutes({ rehearsing, find, publicUrl, isStale, mayDefine }: AuthorizeRoutesParts): readonly Route[] {
  return [
    route({
      method: "POST",
      path: "/mcp/authorize",
      permission: "calls:decide",
      summary: "Decides on a call without making it: nothing is held, forwarded or recorded.",
      body,
      async answer({ caller, body }) {
        const agent = vouchedFor(caller, body, find, publicUrl);
        if (agent === null) return NOT_THERE;
        if (isStale()) return { status: 503, detail: "what other gateways have changed is not known" };
        const place = placeOf(body);
        const argumentBytes = body.arguments === undefined ? null : Buffer.from(JSON.stringify(body.arguments));
        const looksUp = place.server !== FEATURES && mayDefine(place.server);
        const parts = looksUp ? rehearsing : { ...rehearsing, define: async () => ASSUMED };
        const rehearsal = isRefusal(agent)
          ? { permit: null, refusal: agent, left: [] }
          : await rehearse(parts, agent, { ...place, argumentBytes });
        const { permit, refusal, left } = rehearsal;
        if (refusal?.refused === STORE.refused) return { status: 503, detail: "the gateway cannot record now, so that no call is made" };
        // Whoever administers may know the rule, and the words that the record would hold.
        const inside = { rule: permit?.rule ?? null, note: refusal?.note ?? null };
        return { status: 200, json: { ...verdictOf(refusal, left), inspected: isInspected(rehearsal), ...inside } };
      },
    }),
  ];
}

const STORE = refuse("store_unavailable");
/** Where the list is not read the tool is taken to be there. */
const ASSUMED = { name: "", sha256: "", parameterHeaders: [], observed: null };
