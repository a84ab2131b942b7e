/** A collector in a process of its own, to be killed at any moment: what it has said yes to is on disk, and once. */
import { createServer } from "node:http";
import Database from "better-sqlite3";
import type { CloudEvent } from "../../src/call/sync/cloudevents.ts";

const [file = "", port = "0", dedupe = "yes"] = process.argv.slice(2);
const store = new Database(file);
store.pragma("journal_mode = WAL");
store.pragma("synchronous = FULL");
store.exec(
  "CREATE TABLE IF NOT EXISTS event (arrival INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, sequence INTEGER NOT NULL)",
);
if (dedupe === "yes") store.exec("CREATE UNIQUE INDEX IF NOT EXISTS event_once ON event (source, id)");
const insert = store.prepare("INSERT OR IGNORE INTO event (source, id, sequence) VALUES (?, ?, ?)");
const take = store.transaction((events: readonly CloudEvent[]) => {
  for (const { source, id, sequence } of events) insert.run(source, id, Number(sequence));
});

createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  take(JSON.parse(Buffer.concat(chunks).toString()) as CloudEvent[]);
  response.writeHead(204).end();
})
  .on("error", (fault) => {
    throw fault;
  })
  .listen(Number(port), "127.0.0.1", () => process.stdout.write("ready\n"));
