/** Pure. The ids under which books go on: a gateway's own, and after each restored backup one more that is derived from it. */

const RESTORED = /\.r[0-9a-f]{10}$/;

/** The gateway's id, however often its books were restored. */
export function gatewayOf(source: string): string {
  return source.replace(RESTORED, "");
}

/** `random`: 10 hex digits, so that one backup restored in two places begins two logs. */
export function nextSource(source: string, random: string): string {
  return `${gatewayOf(source)}.r${random}`;
}
