/** Turns `env:NAME` and `file:PATH` into a secret, or says why that cannot be; the secret itself is in no message. */
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { codeOf } from "./document.ts";
import { Secret } from "./secret.ts";

// A private key in PEM is about 3 KB; nothing that travels in a header is longer.
const SECRET_BYTES_MAX = 16_384;
/** The authorities that a system trusts are about 220 kB. */
const PUBLIC_BYTES_MAX = 524_288;

export function isReference(written: string): boolean {
  return written.startsWith("env:") || written.startsWith("file:");
}

/** `line` stands in a header or a form; `key` is PEM or JSON of several lines; `public` is PEM that anybody may read. */
export type ReferenceForm = "line" | "key" | "public";

export function resolveReference(
  written: string,
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
  form: ReferenceForm = "line",
): { secret: Secret } | { problem: string } {
  const name = written.slice(written.indexOf(":") + 1);
  if (!written.startsWith("env:")) return readSecretFile(resolve(folder, name), name, form);
  const value = env[name];
  if (value === undefined || value === "") return { problem: `the environment variable ${name} is ${value === "" ? "empty" : "not set"}` };
  return secretOf(value, `the environment variable ${name}`, form);
}

function readSecretFile(path: string, name: string, form: ReferenceForm): { secret: Secret } | { problem: string } {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) return { problem: `${name} is not a file` };
    if (form !== "public" && (stat.mode & 0o077) !== 0)
      return { problem: `${name} can be read by others than its owner: chmod 600 ${name}` };
    const bytesMax = form === "public" ? PUBLIC_BYTES_MAX : SECRET_BYTES_MAX;
    if (stat.size > bytesMax) return { problem: `${name} has ${stat.size} bytes; it may have at most ${bytesMax}` };
    return secretOf(readFileSync(path, "utf8").replace(/\r?\n$/, ""), name, form);
  } catch (fault) {
    return { problem: `${name} cannot be read: ${codeOf(fault)}` };
  }
}

/** RFC 9110 section 5.5: what is visible ASCII can stand in a header, and no line break can smuggle in another one. */
function secretOf(text: string, source: string, form: ReferenceForm): { secret: Secret } | { problem: string } {
  if (text === "") return { problem: `${source} is empty` };
  if (form === "line" && !/^[\x21-\x7e]+( [\x21-\x7e]+)*$/.test(text))
    return { problem: `${source} holds a line break, a control character or a letter outside ASCII` };
  return { secret: new Secret(text) };
}
