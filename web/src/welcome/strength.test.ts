import { expect, test } from "vitest";
import { strength } from "./strength";

test("what is short or repeats is weak", () => {
  for (const password of ["a", "Tr0ub4dor&3", "aaaaaaaaaaaaaaaa", "abababababababab", "passwordpassword"]) {
    expect(strength(password).level, password).toBe(1);
  }
  expect(strength("").level).toBe(0);
});

test("a few words are strong, one's own name is not", () => {
  expect(strength("violet harbour kettle").level).toBe(4);
  expect(strength("lindqvistlindqvist", ["Ada Lindqvist"]).level).toBe(1);
});

test("characters are counted as a person counts them", () => {
  expect(strength("😀😁😂🤣😃😄").hint).toBe("6 more characters needed.");
});
