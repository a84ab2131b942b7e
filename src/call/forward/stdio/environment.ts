/** Pure. The environment of a stdio server: what MCP's own clients pass on, and what the configuration adds. */

/** As the TypeScript SDK's stdio client has it; a server sees nothing else of the gateway's own environment, least of all its secrets. */
const POSIX = ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"];
const WINDOWS = [
  "APPDATA",
  "HOMEDRIVE",
  "HOMEPATH",
  "LOCALAPPDATA",
  "PATH",
  "PROCESSOR_ARCHITECTURE",
  "SYSTEMDRIVE",
  "SYSTEMROOT",
  "TEMP",
  "USERNAME",
  "USERPROFILE",
  "PROGRAMFILES",
];

type Environment = Readonly<Record<string, string | undefined>>;

export function passedOn(own: Environment, platform: string): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const name of platform === "win32" ? WINDOWS : POSIX) {
    const value = own[name];
    // Exported shell functions are code.
    if (value !== undefined && !value.startsWith("()")) environment[name] = value;
  }
  return environment;
}
