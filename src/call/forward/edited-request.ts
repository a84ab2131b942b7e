/** Pure. A request with some of its bytes replaced, and every part of it found where it stands then. */
import { type Edit, splice } from "../../json.ts";
import type { McpRequest, Span } from "../accept/request.ts";

/** Edits in any order, that do not overlap; a part that is replaced as a whole stays that part. */
export function edited(request: McpRequest, edits: readonly Edit[]): McpRequest {
  const sorted = edits.toSorted((a, b) => a.start - b.start);
  const moved = (span: Span | null): Span | null => {
    if (span === null) return null;
    const replaced = sorted.find((edit) => edit.start === span.start && edit.end === span.end);
    let shift = 0;
    for (const { start, end, replacement } of sorted)
      if (end <= span.start && start < span.start) shift += replacement.length - (end - start);
    const length = replaced === undefined ? span.end - span.start : replaced.replacement.length;
    return { start: span.start + shift, end: span.start + shift + length };
  };
  return {
    ...request,
    body: splice(request.body, sorted),
    idSpan: moved(request.idSpan),
    targetSpan: moved(request.targetSpan),
    argumentsSpan: moved(request.argumentsSpan),
    progressTokenSpan: moved(request.progressTokenSpan),
  };
}

/** SEP-2243: what a header cannot hold, or would be taken for the sentinel itself, goes as base64. */
export function headerValue(text: string): string {
  const plain = /^[!-~](?:[ -~]*[!-~])?$/.test(text) && !text.startsWith("=?base64?");
  return plain ? text : `=?base64?${Buffer.from(text).toString("base64")}?=`;
}
