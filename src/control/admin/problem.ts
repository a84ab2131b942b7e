/** Pure. Errors of the admin API as RFC 9457 problems. */

export type Problem = { readonly type: "about:blank"; readonly title: string; readonly status: number; readonly detail: string };

const TITLES = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  500: "Internal Server Error",
  503: "Service Unavailable",
} as const;

export type ProblemStatus = keyof typeof TITLES;

export function problem(status: ProblemStatus, detail: string): Problem {
  return { type: "about:blank", title: TITLES[status], status, detail };
}
