/** Pure. Headers that an upstream may read and a log may not. */
import type { IssuedToken } from "./issued-token.ts";

/** RFC 9110 section 5.5, without the obsolete bytes: a line break would start a header of its own. */
const FIELD_VALUE = /^[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?$/;

export function isFieldValue(text: string): boolean {
  return FIELD_VALUE.test(text);
}

export function redacted(headers: Readonly<Record<string, string>>): IssuedToken["headers"] {
  const hide = { value: () => "[redacted]", enumerable: false };
  return Object.freeze(
    Object.defineProperties({ ...headers }, { toJSON: hide, toString: hide, [Symbol.for("nodejs.util.inspect.custom")]: hide }),
  );
}
