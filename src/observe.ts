/** What an operator sees from outside: JSON logs without secrets, and metrics without names. */
import pino, { type DestinationStream, type Logger } from "pino";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Sessions } from "./call/forward/sessions.ts";
import { rfc3339 } from "./call/record/rfc3339.ts";
import type { Story } from "./call/record/story.ts";

export type Log = Logger;

/** JSON lines on stderr, written at once and past process.stderr, whose stream takes half of a line's time. Values that may hold a credential are cut out by name, in case one slips in. */
export function createLog(level: string, destination: DestinationStream = pino.destination({ fd: 2, sync: true })): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${rfc3339(Date.now())}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        // Our lines are flat. Paths with a wildcard would cost every line 9 us.
        paths: ["authorization", "client_secret", "access_token"],
        censor: "[redacted]",
      },
    },
    destination,
  );
}

export type Metrics = {
  /** Prometheus text exposition format. */
  text(): Promise<string>;
  tell(story: Story, durationMs: number, fault: boolean): void;
  parserRefusal(): void;
  /** An agent did something that it did not use to do. */
  anomaly(signal: string): void;
  /** A call has waited for its turn. */
  waited(waitedMs: number, passed: boolean): void;
  gauge(name: string, help: string, read: () => number): void;
  /** One figure for each value of a label. */
  gauges(name: string, help: string, label: string, read: () => Promise<readonly (readonly [string, number])[]>): void;
};

// Seconds; OpenTelemetry's buckets for mcp.server.operation.duration, with finer steps below 10 ms.
const DURATION_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300];

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  // The probes ask for no credential: which faults this runtime has is not theirs to tell.
  registry.removeSingleMetric("nodejs_version_info");
  const registers = [registry];
  const duration = new Histogram({
    name: "mcp_server_operation_duration_seconds",
    help: "Time from a request's head to the last piece of its answer.",
    labelNames: ["mcp_method_name", "outcome"],
    buckets: DURATION_BUCKETS,
    registers,
  });
  const refusals = new Counter({
    name: "tollgate_refusals_total",
    help: "Requests refused, by reason.",
    labelNames: ["reason"],
    registers,
  });
  // By no name: whoever may read this page need not know which guards there are.
  const inspections = new Counter({
    name: "tollgate_inspections_total",
    help: "Questions to external guards, by what they looked at and their verdict.",
    labelNames: ["of", "verdict"],
    registers,
  });
  const inspectionDuration = new Histogram({
    name: "tollgate_inspection_duration_seconds",
    help: "Time until a guard's verdict, or until none came.",
    labelNames: ["of", "verdict"],
    buckets: DURATION_BUCKETS,
    registers,
  });
  const waits = new Histogram({
    name: "tollgate_limit_wait_seconds",
    help: "Time that calls have waited for their turn under a limit, by whether they then passed.",
    labelNames: ["passed"],
    buckets: DURATION_BUCKETS,
    registers,
  });
  const anomalies = new Counter({
    name: "tollgate_anomalies_total",
    help: "What agents did that they did not use to do, by signal.",
    labelNames: ["signal"],
    registers,
  });
  const faults = new Counter({ name: "tollgate_faults_total", help: "Requests that met a bug of the gateway.", registers });
  const parserRefusals = new Counter({
    name: "tollgate_http_parser_refusals_total",
    help: "Requests that the HTTP parser rejected.",
    registers,
  });
  return {
    text: () => registry.metrics(),
    parserRefusal: () => parserRefusals.inc(),
    anomaly: (signal) => anomalies.inc({ signal }),
    waited: (waitedMs, passed) => waits.observe({ passed: String(passed) }, waitedMs / 1000),
    tell(story, durationMs, fault) {
      const outcome = fault ? "fault" : (story.refusal?.refused ?? story.outcome?.kind ?? "none");
      duration.observe({ mcp_method_name: methodLabel(story.opening.method), outcome }, durationMs / 1000);
      if (story.refusal !== null) refusals.inc({ reason: story.refusal.refused });
      for (const { of, verdict, duration_ms } of story.inspections) {
        inspections.inc({ of, verdict });
        inspectionDuration.observe({ of, verdict }, duration_ms / 1000);
      }
      if (fault) faults.inc();
    },
    gauge(name, help, read) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    },
    gauges(name, help, label, read) {
      new Gauge({
        name,
        help,
        labelNames: [label],
        registers,
        async collect() {
          // What cannot be read just now is left out: the rest of the page is worth having.
          const rows = await read().catch(() => []);
          this.reset();
          for (const [value, figure] of rows) this.set({ [label]: value }, figure);
        },
      });
    },
  };
}

/** A label from a closed list: a client must not be able to make metrics grow. */
function methodLabel(method: string | null): string {
  return method === null ? "none" : METHODS.has(method) ? method : "other";
}

const METHODS = new Set([
  "initialize",
  "server/discover",
  "ping",
  "tools/list",
  "tools/call",
  "resources/list",
  "resources/templates/list",
  "resources/read",
  "resources/subscribe",
  "resources/unsubscribe",
  "prompts/list",
  "prompts/get",
  "completion/complete",
  "logging/setLevel",
  "subscriptions/listen",
  "tasks/get",
  "tasks/result",
  "tasks/update",
  "tasks/cancel",
  "tasks/list",
  "notifications/initialized",
  "notifications/cancelled",
]);

type TellerParts = {
  readonly metrics: Metrics;
  readonly log: Log;
  readonly mono: () => number;
  /** A result that was withheld must not come on a stream that the client resumes; an id is free again. */
  readonly sessions: Pick<Sessions, "cut" | "withhold" | "ended">;
};

/** The answer may still come, to whoever resumes its stream. */
const UNHEARD: ReadonlySet<string> = new Set(["unknown", "timeout", "cancelled"]);

/** The end of a story, as metrics and a line of the log; a fault is named there and nowhere else. */
export function createTeller({ metrics, log, mono, sessions }: TellerParts): (story: Story, fault: unknown) => void {
  return (story, fault) => {
    const durationMs = mono() - story.opening.receivedMonoMs;
    metrics.tell(story, durationMs, fault !== null);
    const { agent, request, settlement } = story;
    if (agent && request) {
      const isUnheard = UNHEARD.has(story.outcome?.kind ?? "");
      // What came too late was charged as held; resumed, it would come uncounted.
      const late = isUnheard && story.reservation?.metersResult === true;
      const isCut = settlement?.state === "unknown" && story.refusal?.refused === "result_over_budget";
      // A look that brought nothing was free: what it may still bring is asked for by another look.
      const isOpen = story.round.task !== null && settlement?.state === "voided" && isUnheard;
      // What a bug of the gateway's has let nobody look at stays here.
      const isFaulty = fault !== null;
      if (settlement?.withheld || late || isCut || isOpen || isFaulty) sessions.withhold(agent.principal, request);
      if (isCut) sessions.cut(agent.principal, request);
      sessions.ended(agent.principal, request, isFaulty ? null : (story.refusal ?? (isUnheard ? "unheard" : "given")));
    }
    log[fault === null ? "info" : "error"](
      {
        call_id: story.opening.callId,
        server: story.request?.server ?? story.opening.server,
        method: story.opening.method,
        agent: story.agent?.profile.id,
        reason: story.refusal?.refused,
        outcome: story.outcome?.kind,
        ms: Math.round(durationMs * 10) / 10,
        ...(fault === null ? {} : { fault: fault instanceof Error ? (fault.stack ?? fault.message) : String(fault) }),
      },
      fault === null ? "request" : "fault",
    );
  };
}
