/** Pure. A credential never holds more than the account that it derives from. */

/** `mcp` says only that a token is for this protocol, and is nobody's to take away. */
export function scopesWithin(held: ReadonlySet<string>, account: readonly string[] | null): ReadonlySet<string> {
  return account === null ? held : new Set([...held].filter((scope) => scope === "mcp" || account.includes(scope)));
}
