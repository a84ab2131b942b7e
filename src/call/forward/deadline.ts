/** Why a job ends before its answer: its time is over, its client has gone, or it was stopped. One signal, one reason. */

export type Ending = "timeout" | "gone" | "stopped";

export type Deadline = Disposable & {
  readonly signal: AbortSignal;
  /** The first reason, or null while the job may go on. */
  readonly ending: Ending | null;
};

/** `gone` is null where a client that leaves does not cancel (revisions up to 2025-11-25). */
export function startDeadline(timeoutMs: number, gone: AbortSignal | null, stopped: AbortSignal): Deadline {
  const controller = new AbortController();
  let ending: Ending | null = null;
  const end = (reason: Ending) => {
    ending ??= reason;
    controller.abort();
  };
  const timer = setTimeout(() => end("timeout"), timeoutMs);
  const onGone = () => end("gone");
  const onStopped = () => end("stopped");
  gone?.addEventListener("abort", onGone, { once: true });
  stopped.addEventListener("abort", onStopped, { once: true });
  if (gone?.aborted) onGone();
  if (stopped.aborted) onStopped();
  return {
    signal: controller.signal,
    get ending() {
      return ending;
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      gone?.removeEventListener("abort", onGone);
      stopped.removeEventListener("abort", onStopped);
    },
  };
}

/** Null: the job ended first. */
export async function beforeEnd<T>(deadline: Deadline, awaited: Promise<T>): Promise<T | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const end = () => resolve(null);
  deadline.signal.addEventListener("abort", end, { once: true });
  if (deadline.signal.aborted) end();
  try {
    return await Promise.race([awaited, promise]);
  } finally {
    // A job waits often, and its signal lives as long as it does.
    deadline.signal.removeEventListener("abort", end);
  }
}
