/** Pure. The text of a result that a model will read, and that is therefore counted. */

type Block = { readonly type?: unknown; readonly text?: unknown; readonly uri?: unknown; readonly resource?: { readonly text?: unknown } };

/**
 * `result` is the JSON of a `result` or an `error`. Counted: text blocks, text of embedded resources, prompt messages, resource
 * contents, links by their URI, completion values; structuredContent only where no text block says the same. Images and audio are not text.
 */
export function textsOf(result: Buffer): string[] {
  const value: unknown = JSON.parse(result.toString());
  if (typeof value !== "object" || value === null) return [];
  const { content, contents, messages, structuredContent, message, data, completion } = value as Record<string, unknown>;
  const texts = [...blocks(content), ...blocks(contents), ...blocks(promptBlocks(messages))];
  if (structuredContent !== undefined && !repeats(texts, structuredContent)) texts.push(JSON.stringify(structuredContent));
  if (typeof message === "string") texts.push(message, ...(data === undefined ? [] : [JSON.stringify(data)]));
  const values = (completion as { values?: unknown } | undefined)?.values;
  if (Array.isArray(values)) texts.push(...values.filter((each) => typeof each === "string"));
  return texts;
}

function blocks(content: unknown): string[] {
  if (content === undefined || content === null) return [];
  // What is no list of blocks, or no block that is known, is read as it stands.
  if (!Array.isArray(content)) return [typeof content === "string" ? content : JSON.stringify(content)];
  return content.flatMap((block: Block | string | null) => {
    if (typeof block !== "object" || block === null) return typeof block === "string" ? [block] : [];
    if (typeof block.text === "string") return [block.text];
    if (typeof block.resource?.text === "string") return [block.resource.text];
    if (block.type === "resource_link" && typeof block.uri === "string") return [block.uri];
    return typeof block.type === "string" && !KNOWN.has(block.type) ? [JSON.stringify(block)] : [];
  });
}

/** Those without a text: data of images and audio, and of resources as bytes. */
const KNOWN = new Set(["text", "image", "audio", "resource", "resource_link"]);

function promptBlocks(messages: unknown): unknown[] {
  if (!Array.isArray(messages)) return [];
  return messages.flatMap((each) => (typeof each === "object" && each !== null ? (each as { content?: unknown }).content : null));
}

/** Servers usually send the structured content once more as text, in whatever spacing. */
function repeats(texts: readonly string[], structured: unknown): boolean {
  const canonical = JSON.stringify(structured);
  return texts.some((text) => {
    try {
      return JSON.stringify(JSON.parse(text)) === canonical;
    } catch {
      return false;
    }
  });
}
