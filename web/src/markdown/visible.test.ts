import { expect, test } from "vitest";
import { pieces, spelled } from "./visible";

test("ordinary text of any script is left alone", () => {
  for (const text of ["", "Grüße, мир, שלום, سلام, नमस्ते", "👩‍👩‍👧 ❤️ می‌خواهم", "a\tb\nc"]) {
    expect(pieces(text)).toEqual([{ text }]);
    expect(spelled(text)).toBe(text);
  }
});

test("direction controls and hidden characters become marks", () => {
  expect(pieces("file\u202egnp.exe")).toEqual([
    { text: "file" },
    { mark: "U+202E", name: "Hidden character: right-to-left override" },
    { text: "gnp.exe" },
  ]);
  for (const hidden of [
    "\u0000",
    "\u001b",
    "\u0085",
    "\u00ad",
    "\u061c",
    "\u200b",
    "\u200f",
    "\u2028",
    "\u2066",
    "\u2069",
    "\ufeff",
    "\u{e0041}",
    "\u{e0100}",
  ]) {
    expect(spelled(`a${hidden}b`)).toMatch(/^a⟨U\+[0-9A-F]{4,5}⟩b$/);
  }
});

test("a run is one mark, however long", () => {
  expect(spelled("\u{e0041}".repeat(5000))).toBe("⟨U+E0041 ×5000⟩");
});
