/** Pure. What another party said, without the credentials that it was given: words are kept in the journal and shown in logs. */

const HIDDEN = "[redacted]";
/** Whatever is presented so is a credential, be it ours or not. */
const PRESENTED = /\b(bearer|basic)(\s+|%20)[^\s"',;]+/gi;

/** `secrets` as they are; a party that was given one may write it back percent-encoded, or in other letters. */
export function sayable(words: string, secrets: readonly string[]): string {
  const written = secrets.flatMap((secret) => [secret, encodeURIComponent(secret.toWellFormed())]).filter((each) => each !== "");
  // The longest first: one may be a part of another.
  const inOrder = [...new Set(written)].sort((a, b) => b.length - a.length);
  const hidden = inOrder.reduce((said, secret) => said.replace(new RegExp(literal(secret), "gi"), HIDDEN), words);
  return hidden.replace(PRESENTED, `$1 ${HIDDEN}`);
}

/** The secrets of a connection's URL: its password as written and as meant, and the URL itself. */
export function secretsOfUrl(url: string): string[] {
  if (!URL.canParse(url)) return [url];
  const { password, searchParams } = new URL(url);
  return [url, password, meant(password), searchParams.get("password") ?? ""];
}

function meant(written: string): string {
  try {
    return decodeURIComponent(written);
  } catch {
    return written;
  }
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
