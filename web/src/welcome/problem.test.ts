import { expect, test } from "vitest";
import { problemIn } from "./problem";

test("a known word has its text", () => {
  expect(problemIn("?problem=provider_denied")).toContain("did not let you in");
});

test("no word, no text", () => {
  expect(problemIn("")).toBe("");
  expect(problemIn("?to=/chat")).toBe("");
});

test.each(["", "x", "<b>", "__proto__", "constructor", "toString"])("an unknown word is not shown: %s", (word) => {
  expect(problemIn(`?problem=${encodeURIComponent(word)}`)).toMatch(/^Signing in by the provider did not work/);
});
