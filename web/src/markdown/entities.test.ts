import { expect, test } from "vitest";
import { decodeEntities } from "./entities";

test("references become characters", () => {
  expect(decodeEntities("&lt;b&gt; &amp;amp; &#8364; &#x1F600; &quot;")).toBe('<b> &amp; € 😀 "');
});

test("what is no reference stays", () => {
  for (const text of ["a & b", "&unknown;", "&#;", "&constructor;", "AT&T"]) expect(decodeEntities(text)).toBe(text);
});

test("impossible characters are replaced", () => {
  expect(decodeEntities("&#0;&#xD800;&#x110000;")).toBe("\ufffd\ufffd\ufffd");
});
