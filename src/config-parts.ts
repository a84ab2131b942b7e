/** Pure. What the sections of the configuration are made of: texts, references to secrets, durations, amounts, URLs. */
import { z } from "zod";
import { hasUserInfo, isHttpsOrLoopback, isMetadataAddress } from "./addresses.ts";
import { AMOUNT, amountOf, durationMs, durationText } from "./call/authorize/written.ts";

export const text = z.string().min(1);
/** A reference here would be taken word for word: only secrets are looked up. */
export const plain = text.regex(/^(?!env:|file:)/, "is written out here; env: and file: are for secrets");
export const secretRef = z
  .string()
  .regex(/^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$/, "a secret never stands here in clear text: write env:NAME or file:PATH")
  .describe("A secret by reference: env:NAME or file:PATH (relative to this file, mode 0600).");

/** What is too long to stand here but no secret. */
export const fileRef = z
  .string()
  .regex(/^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$/, "write env:NAME or file:PATH")
  .describe("By reference: env:NAME or file:PATH (relative to this file).");

/** The user name may stand there, the password may not. */
export const postgresUrl = z
  .string()
  .regex(
    /^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|postgres(ql)?:\/\/.+)$/,
    "must be a postgres:// URL, or env:NAME or file:PATH that holds one",
  )
  .refine(
    (written) => !/^postgres/.test(written) || !((URL.parse(written)?.password ?? "") !== "" || /[?&]password=/i.test(written)),
    "must not hold a password in clear text: write env:NAME or file:PATH for the whole URL",
  );

/** As postgresUrl. */
export const redisUrl = z
  .string()
  .regex(
    /^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|rediss?:\/\/.+)$/,
    "must be a redis:// or rediss:// URL, or env:NAME or file:PATH that holds one",
  )
  .refine(
    (written) => !/^redis/.test(written) || (URL.parse(written)?.password ?? "") === "",
    "must not hold a password in clear text: write env:NAME or file:PATH for the whole URL",
  );

const DURATION_WORDS = "must be a whole number with ms, s, m, h or d: 30s";
export const duration = (maxMs: number, what: string) =>
  z
    .string(DURATION_WORDS)
    .regex(/^[1-9][0-9]{0,9}(ms|s|m|h|d)$/, { error: DURATION_WORDS, abort: true })
    .refine((written) => durationMs(written) <= maxMs, `is longer than ${durationText(maxMs)}`)
    .describe(`${what} A whole number with ms, s, m, h or d: 30s.`);
export const HOUR = 3_600_000;

const AMOUNT_WORDS = "must be a whole number, such as 2000 or 5_000_000";
export const amount = (min: number, max: number) =>
  z
    .union([z.int(), z.string().regex(AMOUNT, { error: AMOUNT_WORDS, abort: true })], { error: AMOUNT_WORDS })
    .refine((written) => amountOf(written) >= min && amountOf(written) <= max, `must be from ${min} to ${max}`);

export const httpUrl = z
  .url({ protocol: /^https?$/, error: "must be a URL that begins with http:// or https://" })
  .refine((url) => !hasUserInfo(url), "must not hold a user name or password: give the credential by env: or file: instead")
  .refine((url) => !isMetadataAddress(url), "is a cloud metadata address, which is never called");
/** Keys and tokens travel there: without TLS anybody on the way could replace them. */
export const issuerUrl = httpUrl
  .refine(isHttpsOrLoopback, "must begin with https:// (http:// only for this machine)")
  .refine((url) => !/[?#]/.test(url), "an issuer has no query and no fragment (RFC 8414 section 2)");
