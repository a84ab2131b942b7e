/** nginx `proxy_pass` before the same upstream: the yardstick, as far as proxies that decide nothing can be one. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Child, freePort, startChild } from "./child.ts";

export type Nginx = { readonly child: Child; readonly url: string; readonly version: string };

/** Null where nginx is not installed (`apt-get install nginx`). */
export async function startNginx(folder: string, upstreamPort: number): Promise<Nginx | null> {
  const version = versionOf();
  if (version === null) return null;
  const home = join(folder, "nginx");
  mkdirSync(join(home, "temp"), { recursive: true });
  const port = await freePort();
  const file = join(home, "nginx.conf");
  writeFileSync(file, configuration(home, port, upstreamPort));
  const child = startChild("nginx", ["-p", home, "-c", file]);
  const url = `http://127.0.0.1:${port}/nginx`;
  for (let i = 0; i < 200; i++) {
    const answer = await fetch(`http://127.0.0.1:${port}/served`).catch(() => null);
    if (answer?.ok) return { child, url, version };
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  await child.stop();
  throw new Error("nginx does not listen");
}

function versionOf(): string | null {
  try {
    // `nginx -v` speaks on stderr; a build without it speaks on neither, which is no reason to skip.
    return execFileSync("sh", ["-c", "command -v nginx >/dev/null && nginx -v 2>&1"], { encoding: "utf8" })
      .trim()
      .replace(/^nginx version: /, "");
  } catch {
    return null;
  }
}

/** Keep-alive on both sides and no access log: its best case. One worker for the one event loop of the gateway. */
function configuration(home: string, port: number, upstreamPort: number): string {
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `  ${name}_temp_path ${home}/temp/${name};`).join("\n");
  return `${process.getuid?.() === 0 ? "user root;\n" : ""}daemon off;
worker_processes 1;
pid ${home}/nginx.pid;
error_log ${home}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
${temp}
  keepalive_requests 1000000000;
  upstream mcp { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://mcp; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
  }
}
`;
}
