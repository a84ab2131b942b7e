/** The composition root: the only file that knows every part. It puts them together in order, and takes them apart in reverse. */
import { randomUUID } from "node:crypto";
import { openAdministration } from "./administration.ts";
import { openHumanApproval } from "./approving.ts";
import { openBudgets } from "./budgets.ts";
import { createPublicListener } from "./call/accept/listener.ts";
import { createPages } from "./call/accept/pages.ts";
import type { TaskRules } from "./call/authorize/task-access.ts";
import { createTasks } from "./call/authorize/tasks.ts";
import { createRounds } from "./call/budget/rounds.ts";
import { live, refuseAtDoor } from "./call/call.ts";
import { createExchange } from "./call/exchange/exchange.ts";
import { createOutbound } from "./call/forward/outbound.ts";
import { createSessions } from "./call/forward/sessions.ts";
import { auditOfAct, blankRecord, type Scribe } from "./call/record/compose.ts";
import { digestOf } from "./call/record/digest.ts";
import { openJournal } from "./call/record/journal-client.ts";
import { lockFolder } from "./call/record/store.ts";
import { openTokenCounter } from "./call/record/token-counter.ts";
import { createCallRates } from "./call-rates.ts";
import { createCharging } from "./charging.ts";
import type { Config } from "./config.ts";
import type { Environment } from "./config-load.ts";
import { createAdminListener, createProbeListener } from "./control/admin/listeners.ts";
import { openKeys } from "./control/keys.ts";
import { knownIn } from "./control/known.ts";
import { createEmbedding } from "./embedding.ts";
import { openEvidence } from "./evidence.ts";
import { openIdentity } from "./identity.ts";
import { mintId, type ServerName } from "./ids.ts";
import { createInForce } from "./in-force.ts";
import { createInspectors, withholdsResults } from "./inspectors.ts";
import { issuersOf } from "./issuers.ts";
import { tellClock } from "./ledger-clock.ts";
import { openLimiting } from "./limiting.ts";
import { doorOf, listen } from "./listen.ts";
import { followPolicies } from "./live-policies.ts";
import { type Loaded, load, refuseOtherId, StartRefused } from "./load.ts";
import { createMetrics, createTeller, type Log } from "./observe.ts";
import { createOpenStreams } from "./open-streams.ts";
import { createPermitUses } from "./permit-uses.ts";
import { createOffers, pinUpstreams } from "./pinned-upstreams.ts";
import { openPins } from "./pins.ts";
import { answerSealer, openRetries } from "./retries.ts";
import { followStops } from "./stopped-agents.ts";
import { type Lending, openLending } from "./sub-budgets.ts";
import { backendsOf, createUpstreams, trustedOrigins } from "./upstreams.ts";
import { createSteps } from "./verbs.ts";
import { createViews } from "./views.ts";
import { showVitals } from "./vitals.ts";

export type Gateway = {
  readonly config: Config;
  readonly publicUrl: string;
  /** Reads the policy files anew; false where they are bad, and the last good ones go on. */
  reload(): Promise<boolean>;
  close(): Promise<void>;
};
export type GatewayOptions = { readonly configFile: string; readonly env: Environment; readonly log: Log; readonly trustClock?: boolean };

/** Calls in flight get this long when the gateway drains; what is left is stopped and charged as held. */
const DRAIN_MS = 30_000;

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const loaded = await load(options.configFile, options.env, options.log);
  const closing: (() => unknown)[] = [];
  const closeAll = async () => {
    for (const close of closing.splice(0).toReversed()) await close();
  };
  try {
    return await assemble(loaded, options, closing, closeAll);
  } catch (fault) {
    await closeAll();
    throw fault instanceof StartRefused ? fault : new StartRefused(fault instanceof Error ? fault.message : String(fault), null);
  }
}

async function assemble(
  { config, policies, seen }: Loaded,
  { env, log, trustClock = false }: GatewayOptions,
  closing: (() => unknown)[],
  closeAll: () => Promise<void>,
): Promise<Gateway> {
  const { publicUrl } = config;
  const now = Date.now;
  const mono = () => performance.now();
  const metrics = createMetrics();
  const streams = createOpenStreams();
  const stopping = new AbortController();
  let state: "starting" | "ready" | "draining" = "starting";
  let inFlight = 0;

  const lock = lockFolder(config.data);
  closing.push(() => lock.release());
  const configVersion = () => config.configVersion;
  const { signingKey, seal } = await openKeys(config.keys);
  const journal = await openJournal({
    dataDir: config.data,
    newSource: config.gatewayId ?? mintId("gw", now()),
    ...{ nowMs: now(), trustClock },
    outageRecord: { ...blankRecord("gateway.recovered"), administrator: "gateway", config_version: config.configVersion },
    onState: (to, message) => log[to === "up" ? "info" : "error"]({ journal: to, why: message }, `the journal is ${to}`),
  });
  closing.push(() => journal.close());
  refuseOtherId(config, journal.source);
  const act = (kind: Parameters<typeof auditOfAct>[0], by: string, details: Parameters<typeof auditOfAct>[2]) =>
    journal.append(auditOfAct(kind, by, details, { now, configVersion }));
  const outbound = createOutbound({ trustedOrigins: trustedOrigins(config) });
  closing.push(() => outbound.close());
  const fault = (thrown: unknown) => log.error({ fault: thrown instanceof Error ? thrown.stack : String(thrown) }, "fault");
  const offers = createOffers();
  const inForce = createInForce(policies.policySet, offers, log);
  const policySet = () => inForce.policySet;
  const setAside: Lending["take"] = (wish) => lending.take(wish);
  const identity = await openIdentity({
    ...{ config, policySet, signingKey, outbound, act, setAside, now, log, fault },
    declared: policies.agents,
  });
  const { store, registry, authorizationServer } = identity;
  closing.push(() => registry.close());
  await act("gateway.started", "gateway", {
    recovered_calls: journal.recovered,
    repaired_balances: journal.repaired,
    policy_version: policySet().policyVersion,
    ...tellClock(journal, { trustClock, isShared: config.shared.redis !== null }, log),
  });

  const { pins, hear, modeOf, routes: pinRoutes } = await openPins({ config, store, registry, offers, audit: act, now, log, fault });
  closing.push(() => pins.settled());
  const around = { config, journal, metrics, log, now, act, fault, closing };
  const budgets = await openBudgets({ ...around, store, registry, inForce, mono, configVersion });
  const { ledger, drawing } = budgets;
  const counter = openTokenCounter((message) => log.error({ why: message }, "the token counter failed: byte lengths stand in"));
  closing.push(() => counter.close());
  const evidence = await openEvidence({ ...around, registry, drawing, seal, fetch: outbound.fetch });
  const { reader, digestKeys, checkpoints } = evidence;
  const lending = await openLending({ config, budgets, registry, store, journal, reader, policySet, configVersion, now, fault });
  closing.push(() => lending.close());
  const authenticate = lending.authenticating(identity.authenticate);
  const callJournal = budgets.heard(evidence.journal);
  const uses = createPermitUses(reader, now);
  inForce.policySet = await uses.prepare(policySet());
  const run = randomUUID();
  const epoch = () => (withholdsResults(policySet()) ? run : "");
  const sessions = createSessions({ seal, backends: backendsOf(config), epoch });
  const rounds = createRounds();
  const tasks = createTasks();
  const taskRules: TaskRules = {
    get policySet() {
      return inForce.policySet;
    },
    tasks,
    carries: (server: ServerName) => config.servers.get(server)?.kind === "http",
  };
  const reached = createUpstreams(config, { now, mono, log, reissue, sessions, hear });
  const upstreams = pinUpstreams(reached, { pins, offers, modeOf, policies: inForce, observe: config.mode === "observe" });
  closing.push(() => upstreams.close(2_000));
  const exchange = createExchange({
    publicUrl,
    servers: upstreams.credentials,
    fetch: outbound.fetch,
    fetchFromOutside: outbound.fetchFromOutside,
    now,
    signAssertion: (claims) => signingKey.sign(claims, "JWT"),
    uniqueId: randomUUID,
  });
  function reissue(...refused: Parameters<typeof exchange.reissue>) {
    return exchange.reissue(...refused);
  }

  followStops(registry, streams, exchange);
  const reloading = followPolicies({
    ...{ config, inForce, declare: registry.declare, known: () => knownIn(store.db), act, log, seen },
    prepare: uses.prepare,
  });
  reloading.onChange(streams.judgeAnew);
  closing.push(() => reloading.close());
  const views = createViews({ config, taskRules, upstreams, exchange: exchange.exchange, seal, now, mono });

  const charging = createCharging(config, { count: counter.count, now, mono });
  const { reserve } = charging;
  const rates = createCallRates();
  const scribe: Scribe = {
    now,
    mono,
    configVersion,
    pricesVersion: () => config.metering.pricesVersion,
    rateOf: rates.rateOf,
    regionOf: (server) => config.servers.get(server as ServerName)?.region ?? null,
    sealAnswer: answerSealer(seal),
    digest: (agent, bytes) => digestOf(bytes, digestKeys.keyFor(agent.profile.customer, agent.person)),
  };
  const approval = openHumanApproval({ config, store, registry, seal, ledger, reserve, rounds, scribe, audit: act, now, fault });
  closing.push(() => approval.close());
  const limiting = openLimiting({ config, registry, rounds, authorize: views.authorize, act, metrics, mono, fault });
  closing.push(() => limiting.close());
  const steps = createSteps({
    approval: approval.step,
    ...charging,
    limiting,
    ...{ authenticate, views, sessions, taskRules, exchange, upstreams, rounds, ledger, rates, scribe, streams, now, mono },
    journal: callJournal,
    retries: await openRetries({ config, store, seal, journal, reader, rounds, now, fault, closing }),
    inspection: createInspectors(config, { fetch: outbound.fetch, mono, now, log }),
    stopping: stopping.signal,
    used: uses.note,
    tell: createTeller({ metrics, log, mono, sessions }),
  });

  const counted = <T>(work: Promise<T>) => {
    inFlight += 1;
    void work.catch(fault).finally(() => {
      inFlight -= 1;
    });
  };
  const embedding = createEmbedding({
    ...{ config, policies: inForce, ledger, limiting, upstreams, reader, scribe, registry, store, now, fault },
    ...charging,
    journal: callJournal,
    ...{ exchange: exchange.exchange, used: uses.note, audit: act, lentBy: lending.lentBy },
    authenticate: (authorization, nowMs) => authenticate(authorization, null, nowMs),
  });
  closing.push(() => embedding.close());
  const listener = createPublicListener({
    ...doorOf(config),
    mode: config.refusals,
    publicUrl,
    now,
    mono,
    pages: createPages({ publicUrl, authorizationServers: issuersOf(config, []).map((each) => each.issuer) }),
    oauth: (request, response) =>
      authorizationServer === null ? response.writeHead(404).end() : authorizationServer.handle(request, response),
    live: (request, answer) => counted(live(request, answer, steps)),
    own: (question, answer, refuseRecorded) => counted(embedding.me(question, answer, refuseRecorded)),
    refused: (sketch, refusal, answer) => counted(refuseAtDoor(sketch, refusal, answer, steps)),
    parserRefusal: () => metrics.parserRefusal(),
    fault: (thrown) => fault(thrown),
  });
  const api = await openAdministration({
    ...{ config, publicUrl, registry, store, reader, authorizationServer, approval, act, now, fault },
    gatewayId: journal.source,
    routes: [...budgets.routes(reader, lending.facts), ...evidence.routes, ...embedding.routes, ...pinRoutes],
  });
  const readiness = showVitals({
    ...{ metrics, journal, checkpoints, registry, policies: reloading, waitingTools: pins.waiting },
    ...{ isSound: evidence.isSound, sharedLedger: budgets.status, outdated: env.TOLLGATE_OLD_NODE !== undefined },
    isListening: () => state === "ready",
    inFlight: () => inFlight,
  });
  closing.push(await listen(createProbeListener(readiness, metrics.text), config.probes, "probes"));
  closing.push(await listen(createAdminListener(api), config.admin, "admin"));
  await listen(listener.server, config.listen, "listen");
  state = "ready";
  log.info(
    {
      ...{ public_url: publicUrl, admin: config.admin.port, probes: config.probes.port },
      ...{ servers: [...config.servers.keys()], recovered: journal.recovered },
    },
    "tollgate is ready",
  );
  setTimeout(() => void authorizationServer?.warm().catch(fault), 100).unref();

  return {
    config,
    publicUrl,
    reload: reloading.reload,
    async close() {
      state = "draining";
      listener.drain();
      streams.endAll();
      limiting.drain();
      const late = setTimeout(() => stopping.abort(), DRAIN_MS);
      while (inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      clearTimeout(late);
      listener.server.closeAllConnections();
      await closeAll();
    },
  };
}
