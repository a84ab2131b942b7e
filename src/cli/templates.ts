/** Pure. The files that `init` writes. */

export type ServerLine = { readonly name: string; readonly yaml: string };

export function configTemplate(servers: readonly ServerLine[]): string {
  return `# A Tollgate configuration. Every key: docs/reference/config.md. Check it: tollgate check
apiVersion: tollgate/v1

# The URL that agents use; access tokens are valid for {publicUrl}/mcp/{server}.
publicUrl: http://127.0.0.1:8420
listen: { host: 127.0.0.1, port: 8420 }
admin: { host: 127.0.0.1, port: 8421 }
probes: { host: 127.0.0.1, port: 8422 }

# Journal, registry and keys of this gateway. One process at a time.
data: ./data

# Who may do what, and how much.
policies: ./policies

# The MCP servers behind the gateway, each served at /mcp/{name}.
servers:
${servers.map((server) => `  ${server.name}: ${server.yaml}`).join("\n")}
`;
}

export function policyTemplate(servers: readonly string[]): string {
  const all = servers.map((server) => `"${server}/*"`).join(", ");
  const prompts = servers.flatMap((server) => [`"prompt:${server}/*"`, `"resource:${server}/*"`]).join(", ");
  return `# Nothing permitted means refused. A forbid wins over any permit. Order never matters.
apiVersion: tollgate/v1

agents:
  first-agent: { team: first, owner: me@example.com, purpose: "trying Tollgate" }

entitlements:
  - name: first-team-uses-the-servers
    who: { team: first }
    permit: [${all}, ${prompts}]
  - name: nobody-deletes
    forbid: ["*/delete_*", "*/delete-*"]

budgets:
  - { name: first-calls, who: { team: first }, each: agent, meter: calls, limit: 1000, period: day }
  - { name: first-tokens, who: { team: first }, meter: tool_tokens, limit: 1_000_000, period: month }
`;
}
