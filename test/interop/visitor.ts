/** A process for one client: its globals, its handles and its output stay its own. Asked and answered over IPC. */
import type { Report, Target } from "./report.ts";

export type Errand = { readonly module: string; readonly drive: string; readonly target: Target };
export type Finding = { readonly report: Report } | { readonly fault: string };

process.once("message", async ({ module, drive, target }: Errand) => {
  let finding: Finding;
  try {
    const driver = (await import(`./clients/${module}.ts`)) as Record<string, (target: Target) => Promise<Report>>;
    const run = driver[drive];
    if (run === undefined) throw new Error(`clients/${module}.ts has no ${drive}`);
    finding = { report: await run(target) };
  } catch (thrown) {
    finding = { fault: thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown) };
  }
  process.send?.(finding, () => process.exit(0));
});
