/** The pins of tools as the configuration wants them: held in memory, heard at every reading, shown and approved through the admin API. */
import type { Reading } from "./call/forward/catalogue.ts";
import type { Config, PinMode } from "./config.ts";
import type { Route } from "./control/admin/route.ts";
import { toolRoutes } from "./control/admin/tool-routes.ts";
import type { Registry } from "./control/agents/registry.ts";
import type { ControlStore } from "./control/store.ts";
import { approvalOfTools } from "./control/tools/approve.ts";
import { openToolPins, type ToolPins } from "./control/tools/tool-pins.ts";
import { toolRows } from "./control/tools/tool-rows.ts";
import type { PinAudit } from "./control/tools/write-reading.ts";
import type { ServerName } from "./ids.ts";
import type { Log } from "./observe.ts";
import type { Offers } from "./pinned-upstreams.ts";
import type { Refusal } from "./refusal.ts";

export type Pins = {
  readonly pins: ToolPins;
  readonly modeOf: (server: string) => PinMode;
  readonly hear: (server: ServerName, reading: Reading) => Promise<Refusal | null>;
  readonly routes: readonly Route[];
};

export type PinsParts = {
  readonly config: Pick<Config, "servers" | "mode">;
  readonly store: ControlStore;
  readonly registry: Pick<Registry, "follow" | "catchUp">;
  readonly offers: Offers;
  readonly audit: PinAudit;
  readonly now: () => number;
  readonly log: Log;
  readonly fault: (thrown: unknown) => void;
};

export async function openPins({ config, store, registry, offers, audit, now, log, fault }: PinsParts): Promise<Pins> {
  const modeOf = (server: string) => config.servers.get(server as ServerName)?.tools.pin ?? "firstUse";
  const pins = await openToolPins({
    ...{ store, registry, audit, modeOf, now, fault },
    observe: config.mode === "observe",
    onWaiting: ({ server, tool, sha256, was, flags }) =>
      log.warn(
        { server, tool, definition: `sha256:${sha256}`, was, flags: flags.join(" ") },
        "a tool waits for an approval: tollgate tool diff",
      ),
  });
  return {
    pins,
    modeOf,
    async hear(server, reading) {
      const objection = await pins.heard(server, reading);
      if (objection === null) offers.keep(server, reading);
      return objection;
    },
    routes: toolRoutes({ rows: toolRows(store), approve: approvalOfTools({ store, registry, audit, now }) }),
  };
}
