/** A Node process from outside, through its inspector: what V8 still holds once it has cleaned up. */

export type Inspector = { collectGarbage(): Promise<void>; close(): void };

/** `port` is the one of `--inspect`. */
export async function openInspector(port: number): Promise<Inspector> {
  const [target] = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as { webSocketDebuggerUrl: string }[];
  if (target === undefined) throw new Error("the process has no inspector");
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error("the inspector does not answer")));
  });
  const waiting = new Map<number, () => void>();
  socket.addEventListener("message", ({ data }) => {
    const { id } = JSON.parse(String(data)) as { id?: number };
    if (id !== undefined) waiting.get(id)?.();
  });
  let lastId = 0;
  return {
    collectGarbage: () =>
      new Promise((resolve) => {
        waiting.set(++lastId, resolve);
        socket.send(JSON.stringify({ id: lastId, method: "HeapProfiler.collectGarbage" }));
      }),
    close: () => socket.close(),
  };
}
