/** Pure. What each agent usually does - its tools, its regions, its hours, how much in an hour - and what departs from that. Counts and comparisons, nothing more. */

/** Calls of one agent to one tool in one hour. */
export type Activity = {
  readonly agentId: string;
  /** SERVER/TOOL */
  readonly tool: string;
  /** Of the server; null: it has none. */
  readonly region: string | null;
  /** Whole hours since the epoch. */
  readonly hour: number;
  readonly calls: number;
};

/** BU-13. */
export type Signal = "overactive" | "new_tool" | "new_region" | "unusual_hour";

/** `calls`: so far in that hour; `busiest`: the most in an hour of the days that are remembered. */
export type Anomaly = Activity & { readonly signal: Signal; readonly busiest: number };

export type HabitRules = {
  /** An agent is judged when its first remembered day is so many days ago. */
  readonly learnDays: number;
  /** What is older is forgotten. */
  readonly rememberDays: number;
  /** So many times its busiest hour, and at least so many calls, are too many. */
  readonly overactive: { readonly times: number; readonly atLeast: number };
};

export type Habits = {
  /** Learns from it, and says what is unusual about it. The same activities in the same order are answered alike, in whatever portions they come. */
  note(activity: Activity): Anomaly[];
};

/** Days on which an agent must have called before it has habits: who called once a week ago has none. */
const DAYS_MIN = 3;
/** Beyond so many of an agent's new tools a day it is enough: the records say so already. */
const TOLD_A_DAY_MAX = 10;
/** Beyond these the ones that were not used for the longest are forgotten. */
const AGENTS_MAX = 10_000;
const TOOLS_MAX = 1_000;
const HOURS = 24;
const NEVER = Number.NEGATIVE_INFINITY;

type Known = { readonly day: number; readonly region: string | null };
type Habit = {
  day: number;
  /** Calls of that day by hour. */
  today: number[];
  /** By earlier days with calls: the most in an hour. */
  readonly busiest: Map<number, number>;
  /** By the hour of the day: the last earlier day with calls. */
  readonly lastDays: number[];
  readonly tools: Map<string, Known>;
  readonly regions: Map<string, number>;
  /** New tools and regions of today that were told. */
  told: number;
};

export function createHabits({ learnDays, rememberDays, overactive }: HabitRules): Habits {
  const agents = new Map<string, Habit>();
  return {
    note(activity) {
      const { agentId, hour, calls } = activity;
      const day = Math.floor(hour / HOURS);
      const habit = habitOf(agents, agentId, day);
      turnTo(habit, day, rememberDays);
      const isKnown = habit.busiest.size >= DAYS_MIN && habit.day - Math.min(...habit.busiest.keys()) >= learnDays;
      const busiest = Math.max(0, ...habit.busiest.values());
      // An hour that the clock gives again a day later or less counts as one of today.
      const at = hour - day * HOURS;
      const before = habit.today[at] ?? 0;
      habit.today[at] = before + calls;
      const signals: Signal[] = [
        ...newPlaces(habit, activity, habit.day - rememberDays, isKnown),
        ...(isKnown ? unusualAmount(habit, at, before, Math.max(overactive.atLeast, overactive.times * busiest)) : []),
        ...(isKnown ? unusualHour(habit, at, before, habit.day - rememberDays) : []),
      ];
      return signals.map((signal) => ({ ...activity, signal, calls: before + calls, busiest }));
    },
  };
}

function habitOf(agents: Map<string, Habit>, agentId: string, day: number): Habit {
  const known = agents.get(agentId);
  agents.delete(agentId);
  // A clock that is set back by more than a day leaves habits of days that have not come.
  const habit = known !== undefined && day >= known.day - 1 ? known : newHabit(day);
  agents.set(agentId, habit);
  dropOldest(agents, AGENTS_MAX);
  return habit;
}

function newHabit(day: number): Habit {
  const today = new Array<number>(HOURS).fill(0);
  return { day, today, busiest: new Map(), lastDays: today.map(() => NEVER), tools: new Map(), regions: new Map(), told: 0 };
}

function turnTo(habit: Habit, day: number, rememberDays: number): void {
  if (day <= habit.day) return;
  const most = Math.max(...habit.today);
  if (most > 0) habit.busiest.set(habit.day, most);
  for (const [hour, calls] of habit.today.entries()) if (calls > 0) habit.lastDays[hour] = habit.day;
  for (const earlier of habit.busiest.keys()) if (earlier < day - rememberDays) habit.busiest.delete(earlier);
  habit.day = day;
  habit.today = habit.today.map(() => 0);
  habit.told = 0;
}

/** A region that a known tool has been given for the first time is a word more in the configuration, and nowhere new. */
function newPlaces(habit: Habit, { tool, region }: Activity, forgottenBefore: number, isKnown: boolean): Signal[] {
  const before = habit.tools.get(tool);
  const isNewTool = before === undefined || before.day < forgottenBefore;
  const isNewRegion = region !== null && (habit.regions.get(region) ?? NEVER) < forgottenBefore && (isNewTool || before.region !== null);
  habit.tools.delete(tool);
  habit.tools.set(tool, { day: habit.day, region });
  dropOldest(habit.tools, TOOLS_MAX);
  if (region !== null) {
    habit.regions.delete(region);
    habit.regions.set(region, habit.day);
    dropOldest(habit.regions, TOOLS_MAX);
  }
  if (!isKnown) return [];
  // Regions are few, and the configuration's: none is lost behind a crowd of new tools.
  const ofRegion: Signal[] = isNewRegion ? ["new_region"] : [];
  if (!isNewTool || habit.told >= TOLD_A_DAY_MAX) return ofRegion;
  habit.told += 1;
  return ["new_tool", ...ofRegion];
}

/** Once a day: tomorrow it is a habit. */
function unusualAmount({ today }: Habit, at: number, before: number, bound: number): Signal[] {
  const crosses = before < bound && (today[at] ?? 0) >= bound;
  return crosses && !today.some((calls, hour) => hour !== at && calls >= bound) ? ["overactive"] : [];
}

/** Neither this hour of the day nor one beside it has had a call: those beside it, since clocks change and jobs run late. Once a day. */
function unusualHour({ today, lastDays }: Habit, at: number, before: number, forgottenBefore: number): Signal[] {
  const isUnusual = (hour: number) => [HOURS - 1, 0, 1].every((beside) => (lastDays[(hour + beside) % HOURS] ?? NEVER) < forgottenBefore);
  const isFirst = before === 0 && !today.some((calls, hour) => hour !== at && calls > 0 && isUnusual(hour));
  return isFirst && isUnusual(at) ? ["unusual_hour"] : [];
}

function dropOldest(map: Map<string, unknown>, max: number): void {
  if (map.size <= max) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
