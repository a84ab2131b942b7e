/** A server that answers a call with the very bytes of the attack's file, and everything else well. */
import { behave, messageIn } from "../fixtures/bad-upstream.ts";
import { type Door, type DoorOptions, openDoor } from "../fixtures/listener.ts";
import type { Scene } from "./attack.ts";

export type HostileScript = NonNullable<Scene["upstream"]>;

export type HostileUpstream = Door & {
  /** The call in which `mark` stands is answered with the script; {{id}}, {{mark}}, {{times:N:TEXT}} and {{chunk}}, a good answer, are filled in. */
  arm(mark: string, script: HostileScript): void;
};

export async function startHostileUpstream(options: DoorOptions): Promise<HostileUpstream> {
  const scripts = new Map<string, HostileScript>();
  const door = await openDoor(async (req, res, body) => {
    const message = messageIn(body);
    const armed = message.method === "tools/call" ? [...scripts].find(([mark]) => body.includes(mark)) : undefined;
    if (armed === undefined) return behave(res, message);
    const [mark, { raw, pauseMs, ends }] = armed;
    const { socket } = req;
    socket.on("error", () => {});
    for (const piece of raw) {
      if (socket.destroyed) return;
      socket.write(Buffer.from(filledIn(piece, message.idText, mark), "latin1"));
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    if (ends === "close") socket.destroySoon();
    if (ends === "reset") socket.resetAndDestroy();
  }, options);
  return { ...door, arm: (mark, script) => void scripts.set(mark, script) };
}

function filledIn(text: string, idText: string, mark: string): string {
  const answer = `{"jsonrpc":"2.0","id":${idText},"result":{"resultType":"complete","content":[{"type":"text","text":"fine"}]}}`;
  const chunk = `${answer.length.toString(16)}\r\n${answer}\r\n`;
  const known = text.replaceAll("{{id}}", idText).replaceAll("{{mark}}", mark).replaceAll("{{chunk}}", chunk);
  return known.replace(/\{\{times:([0-9]+):(.+?)\}\}/gs, (_, times: string, each: string) => each.repeat(Number(times)));
}
