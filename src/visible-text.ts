/** Pure. Texts from outside, so that whoever reads them sees every character. */

/** Controls, what has no shape of its own or turns the line around, what is assigned to nothing, and the empty Braille pattern. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}\u{2800}]/gu;

/** As escapes: U+202E stands as \u202e, U+E0041 as \u{e0041}. */
export function visibly(text: string): string {
  return text.replace(UNSEEN, (character) => {
    const hex = (character.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`;
  });
}

export function hasUnseen(text: string): boolean {
  return text.search(UNSEEN) !== -1;
}
