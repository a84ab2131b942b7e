/** Pure. Resource URIs that mean one thing only: a pattern must not permit by one spelling what a server reads in another. */

/**
 * False for what a server's URL parser or file system would fold into another resource: dot segments, backslashes, encoded dots, slashes
 * and letters, upper-case schemes and hosts, default ports, and for `file:` a host or an empty segment. A template's expressions are opaque.
 */
export function isPlainUri(uri: string): boolean {
  const written = asciiUri(uri.replace(/\{[^{}]*\}/g, "x"));
  if (/[^!-[\]-~]/.test(written) || ENCODED_TWIN.test(written)) return false;
  const path = written.replace(/[?#].*$/s, "");
  if (path.split("/").some((segment) => segment === "." || segment === "..")) return false;
  if (/^file:/i.test(written) && !/^file:\/\/\/([^/]+(\/[^/]+)*\/?)?$/.test(path)) return false;
  const parsed = URL.parse(written);
  // Without a scheme there is no URL parser to disagree with.
  if (parsed === null) return !/^[a-z][a-z0-9+.-]*:\/\//i.test(written);
  return parsed.href === written || parsed.href === `${written}/`;
}

/** Bytes beyond ASCII as percent-encoded UTF-8, in which patterns and URIs are compared: a raw and an encoded letter are one. */
export function asciiUri(uri: string): string {
  return uri.replace(/[^\0-\x7f]+/g, (text) => encodeURIComponent(text.toWellFormed()));
}

/** Encoded unreserved characters (RFC 3986 section 6.2.2.2), separators and controls, and hex digits in lower case. */
const ENCODED_TWIN = /%(?:[01]|2[dDeEfF]|3[0-9]|4[1-9a-fA-F]|5[0-9aAcCfF]|6[1-9a-fA-F]|7[0-9aAeEfF]|[0-9a-fA-F][a-f]|[a-f][0-9a-fA-F])/;
