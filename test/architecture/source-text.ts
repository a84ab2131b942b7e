/** Pure. TypeScript text without its comments: enough of a lexer that no string, template or regular expression passes for one. */

/** A `/` after one of these begins a regular expression; after a name, a number or a closing bracket it divides. */
const BEFORE_REGEX = /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|void|yield|await|else|do))\s*$/;

/** Comments become one space; everything else stays as it is, line breaks outside comments included. */
export function withoutComments(text: string): string {
  let code = "";
  let at = 0;
  // Depths of braces at which an open template literal goes on.
  const templates: number[] = [];
  let depth = 0;
  const take = (end: number) => {
    code += text.slice(at, end);
    at = end;
  };
  while (at < text.length) {
    const c = text[at];
    const two = text.slice(at, at + 2);
    if (two === "//" || two === "/*") {
      at = commentEnd(text, at);
      code += " ";
    } else if (c === '"' || c === "'") take(delimitedEnd(text, at, c));
    else if (c === "/" && BEFORE_REGEX.test(code.slice(-40))) take(regexEnd(text, at));
    else if (c === "`" || (c === "}" && templates.at(-1) === depth)) {
      if (c === "}") templates.pop();
      const end = templateEnd(text, at + 1);
      if (text[end - 1] === "{") templates.push(depth);
      take(end);
    } else {
      if (c === "{") depth += 1;
      if (c === "}") depth -= 1;
      take(at + 1);
    }
  }
  return code;
}

function commentEnd(text: string, at: number): number {
  const line = text[at + 1] === "/";
  const end = text.indexOf(line ? "\n" : "*/", at + 2);
  return end === -1 ? text.length : line ? end : end + 2;
}

function delimitedEnd(text: string, at: number, quote: string): number {
  let i = at + 1;
  while (i < text.length && text[i] !== quote && text[i] !== "\n") i += text[i] === "\\" ? 2 : 1;
  return i + 1;
}

function regexEnd(text: string, at: number): number {
  let i = at + 1;
  let inClass = false;
  while (i < text.length && text[i] !== "\n" && (inClass || text[i] !== "/")) {
    if (text[i] === "[") inClass = true;
    if (text[i] === "]") inClass = false;
    i += text[i] === "\\" ? 2 : 1;
  }
  return i + 1;
}

/** Just behind the closing backtick, or behind the `${` of an expression. */
function templateEnd(text: string, from: number): number {
  let i = from;
  while (i < text.length && text[i] !== "`" && !text.startsWith("${", i)) i += text[i] === "\\" ? 2 : 1;
  return i + (text[i] === "$" ? 2 : 1);
}
