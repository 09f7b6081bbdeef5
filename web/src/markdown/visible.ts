// Characters that change what a reader sees without being seen: direction controls, zero-width and tag characters,
// control codes. They are shown as small marks, so that no text can look like another or hide a message.

export type Piece = { text: string } | { mark: string; name: string };

const NAMES: Record<number, string> = {
  1564: "Arabic letter mark",
  8203: "zero-width space",
  8206: "left-to-right mark",
  8207: "right-to-left mark",
  8234: "left-to-right embedding",
  8235: "right-to-left embedding",
  8236: "end of embedding",
  8237: "left-to-right override",
  8238: "right-to-left override",
  8294: "left-to-right isolate",
  8295: "right-to-left isolate",
  8296: "first strong isolate",
  8297: "end of isolate",
  65279: "byte-order mark",
};

// Zero-width joiner and non-joiner stay: emoji and several scripts need them. So do tab, newline and U+FE0F.
const RANGES = [
  "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f", // control codes but tab and newline
  "\\u00ad\\u115f\\u1160\\u180e\\u3164\\uffa0", // soft hyphen and letters without a shape
  "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069", // direction
  "\\u200b\\u2028\\u2029\\u2060-\\u2065\\u206a-\\u206f\\ufeff\\ufff9-\\ufffb", // zero width, separators, annotations
  "\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}", // musical controls, tags, further variation selectors
];
const HIDDEN = new RegExp(`[${RANGES.join("")}]+`, "gu");

/** `text` cut into what may be shown as it is and runs of hidden characters, each run as one mark. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > from) found.push({ text: text.slice(from, match.index) });
    found.push(mark(match[0]));
    from = match.index + match[0].length;
  }
  if (from < text.length || !found.length) found.push({ text: text.slice(from) });
  return found;
}

/** `text` with every hidden run spelled out, for places that hold plain text only (titles, names). */
export function spelled(text: string): string {
  return text.replace(HIDDEN, (run) => `⟨${mark(run).mark}⟩`);
}

function mark(run: string): { mark: string; name: string } {
  const points = Array.from(run, (character) => character.codePointAt(0) ?? 0);
  const first = points[0] ?? 0;
  const code = `U+${first.toString(16).toUpperCase().padStart(4, "0")}`;
  const name = NAMES[first] ?? (first >= 0xe0000 ? "hidden tag" : "control character");
  return { mark: points.length > 1 ? `${code} ×${points.length}` : code, name: `Hidden character: ${name}` };
}
