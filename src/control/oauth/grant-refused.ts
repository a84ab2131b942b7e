/** Pure. RFC 6749 section 5.2: why no token is issued, in a word that the RFC has and a fixed sentence. */

export type GrantError =
  | "invalid_request"
  | "invalid_client"
  | "invalid_grant"
  | "unauthorized_client"
  | "invalid_scope"
  /** RFC 8707 section 2. */
  | "invalid_target"
  /** RFC 9396 section 5. */
  | "invalid_authorization_details"
  | "temporarily_unavailable";

export class GrantRefused extends Error {
  readonly error: GrantError;
  constructor(error: GrantError, description: string) {
    super(description);
    this.error = error;
  }
}
