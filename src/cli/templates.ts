/** Pure. The files that `init` writes. */

export type ServerLine = { readonly name: string; readonly yaml: string };

export function configTemplate(servers: readonly ServerLine[]): string {
  return `# yaml-language-server: $schema=./schema/config.schema.json
#
# A Tollgate configuration. Every key: docs/reference/config.md. Check it: tollgate check
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
  return `# yaml-language-server: $schema=../schema/policy.schema.json
#
# Nothing permitted means refused. A forbid wins over any permit. Order never matters.
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

export function casesTemplate(server: string): string {
  return `# yaml-language-server: $schema=../schema/cases.schema.json
#
# Decisions that must hold: tollgate policy test asks them, here and in your own CI.
apiVersion: tollgate/v1
cases:
  - name: the first agent uses its server
    agent: first-agent
    tool: ${server}/any-tool
    expect: permit
    rule: first-team-uses-the-servers

  - name: nobody deletes
    agent: [first-agent, { name: somebody, team: first }]
    tool: ${server}/delete_all
    expect: tool_unknown
    rule: nobody-deletes

  - name: for other teams the server does not exist
    agent: { name: stranger, team: other }
    tool: ${server}/any-tool
    expect: server_unknown
`;
}
