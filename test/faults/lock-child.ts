/** Holds the lock of the data folder that it is given, until it is killed. */
import { lockFolder } from "../../src/call/record/store.ts";

lockFolder(process.argv[2] ?? "");
process.send?.("locked");
setInterval(() => {}, 60_000);
