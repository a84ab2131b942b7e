/** The negative control of the power-loss proof: every connection runs its write-ahead log at NORMAL, which does not wait for the disk. */
import Database from "better-sqlite3";

const { pragma } = Database.prototype;
Database.prototype.pragma = function (this: Database.Database, text: string, options?: Database.PragmaOptions) {
  return pragma.call(this, text === "synchronous = FULL" ? "synchronous = NORMAL" : text, options);
} as typeof pragma;
