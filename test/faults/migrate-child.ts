/** Opens the journal of a data folder, which brings it to this version, and ends. */
import { openStore } from "../../src/call/record/store.ts";

openStore(process.argv[2] ?? "", false).close();
