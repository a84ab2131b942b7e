/** Pure. What an entitlement may hold a server to: the version that it says it is, and the very definition of one tool. */

/** `definition`: hex SHA-256 of its canonical form. Null: any. */
export type RulePins = { readonly version: string | null; readonly definition: string | null };

/** What the server was last read to offer: null where it says no version, or has no such tool. */
export type Offered = { readonly version: string | null; readonly definition: string | null };

/** Null: the server has not been read. A call reads it before it is decided on, so that nothing passes unseen. */
export type OfferedAt = (server: string, tool: string | null) => Offered | null;

export const NOTHING_READ: OfferedAt = () => null;

export function meets(pins: RulePins | null, offered: Offered | null): boolean {
  if (pins === null || offered === null) return true;
  if (pins.version !== null && !isWithin(offered.version, pins.version)) return false;
  return pins.definition === null || pins.definition === offered.definition;
}

/** `2` is met by 2, 2.3 and 2.3.1, and not by 20 or by 2-beta. */
function isWithin(version: string | null, pin: string): boolean {
  return version !== null && (version === pin || version.startsWith(`${pin}.`));
}

/** In words, for explanations. */
export function pinsDiffer(pins: RulePins | null, offered: Offered | null): string[] {
  if (pins === null || offered === null || meets(pins, offered)) return [];
  const { version, definition } = pins;
  return [
    ...(version === null || isWithin(offered.version, version)
      ? []
      : [`the server would have to be version ${version}: it says ${offered.version ?? "none"}`]),
    ...(definition === null || definition === offered.definition
      ? []
      : [
          `the tool's definition would have to be sha256:${definition}: ${offered.definition === null ? "there is none" : `it is sha256:${offered.definition}`}`,
        ]),
  ];
}
