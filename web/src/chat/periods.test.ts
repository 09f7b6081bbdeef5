import { expect, test } from "vitest";
import { periods } from "./periods";

const noon = new Date(2026, 5, 15, 12).getTime();
const at = (id: string, day: number, hour = 12) => ({
  id,
  title: id,
  updated_at: new Date(2026, 5, 15 + day, hour).getTime() / 1000,
});

test("conversations stand under the day they were used, and empty headings are left out", () => {
  const found = periods([at("a", 0, 1), at("b", -1, 23), at("c", -6), at("d", -20), at("e", -90)], noon);
  expect(found.map((period) => [period.name, period.conversations.map((one) => one.id)])).toEqual([
    ["Today", ["a"]],
    ["Yesterday", ["b"]],
    ["Last 7 days", ["c"]],
    ["Last 30 days", ["d"]],
    ["Older", ["e"]],
  ]);
  expect(periods([], noon)).toEqual([]);
});
