#!/usr/bin/env node
/** The first thing that runs: refuses an old Node with the remedy, then hands over to the command line. */

// Nothing is imported before this gate: older Node versions crash inside the SQLite binding instead of saying why.
const [major = 0, minor = 0, patch = 0] = process.versions.node.split(".").map(Number);

if (major < 24) {
  process.stderr.write(
    `tollgate needs Node.js 24 or newer; this is ${process.versions.node}. In a clone, use "npm run tollgate -- <command>"; elsewhere install Node.js 24.\n`,
  );
  process.exit(69);
}

// Node 24 before 24.22.1 carries a Brotli decoder with a known memory fault. Tollgate never decodes `br`; the operator should know all the same.
if (major === 24 && (minor < 22 || (minor === 22 && patch < 1))) process.env.TOLLGATE_OLD_NODE = process.versions.node;

const { run } = await import("./cli/program.ts");
process.exitCode = await run(process.argv);
