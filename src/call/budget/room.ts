/** Pure. Who may make another counter: each agent has a share of them all, and a few that it may always have, whatever others have made. */

export type RoomBounds = { readonly countersMax: number; readonly ownMax: number; readonly ownMin: number };

/** About 300 bytes each: 60 MB. Of one agent: `each: subject` or `each: instance` would let it fill the memory, and lock out others. */
export const COUNTER_BOUNDS: RoomBounds = { countersMax: 200_000, ownMax: 20_000, ownMin: 16 };

/** Owner null: nobody's, bounded only by how many there are. */
export type Room = {
  fits(owner: string | null, count: number): boolean;
  made(owner: string | null): void;
  gone(owner: string | null): void;
  readonly size: number;
};

export function createRoom({ countersMax, ownMax, ownMin }: RoomBounds): Room {
  const owned = new Map<string, number>();
  let size = 0;
  return {
    fits(owner, count) {
      if (count === 0) return true;
      const own = owner === null ? Number.NaN : (owned.get(owner) ?? 0) + count;
      return own <= ownMin || (!(own > ownMax) && size + count <= countersMax);
    },
    made(owner) {
      size += 1;
      if (owner !== null) owned.set(owner, (owned.get(owner) ?? 0) + 1);
    },
    gone(owner) {
      size -= 1;
      if (owner === null) return;
      const left = (owned.get(owner) ?? 1) - 1;
      if (left > 0) owned.set(owner, left);
      else owned.delete(owner);
    },
    get size() {
      return size;
    },
  };
}
