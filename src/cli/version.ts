/** The version of this Tollgate, as package.json has it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

// src/cli and dist/cli stand equally deep, so the same path serves both.
const packageJson = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8")) as { version: string };

export const VERSION = packageJson.version;
