/** The part of oidc-provider that this folder uses; the package ships no types. */
declare module "oidc-provider" {
  import type { IncomingMessage, ServerResponse } from "node:http";

  export type Context = {
    readonly oidc?: {
      readonly route?: string;
      readonly params?: Record<string, unknown>;
      readonly client?: { readonly clientId: string };
    };
    status: number;
    body: unknown;
    set(name: string, value: string): void;
  };

  export class Provider {
    constructor(issuer: string, configuration: Record<string, unknown>);
    /** The request under way in this asynchronous context. */
    static readonly ctx: Context | undefined;
    proxy: boolean;
    readonly Client: { prototype: { clientId: string; compareClientSecret(presented: string): boolean | Promise<boolean> } };
    use(middleware: (context: Context, next: () => Promise<void>) => Promise<void>): void;
    registerGrantType(
      name: string,
      handler: (context: Context) => Promise<void>,
      params: readonly string[],
      dupes: readonly string[],
    ): void;
    on(event: string, listener: (...args: unknown[]) => void): void;
    callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  }

  export default Provider;

  export const errors: {
    readonly InvalidClientAuth: new (description: string) => Error;
  };
}
