import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

// WCAG 2.2: 4.5 for text, 3 for the outline of a control.
const css = readFileSync(new URL("./tokens.css", import.meta.url), "utf8");

function colour(name: string, theme: 0 | 1): [number, number, number] {
  const match = new RegExp(`--${name}: light-dark\\((#[0-9a-f]{6}), (#[0-9a-f]{6})\\)`).exec(css);
  const hex = match?.[theme + 1];
  if (!hex) throw new Error(`no colour --${name}`);
  return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
}

function luminance(rgb: [number, number, number]): number {
  const [r, g, b] = rgb.map((byte) => {
    const value = byte / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one: string, other: string, theme: 0 | 1): number {
  const [low, high] = [luminance(colour(one, theme)), luminance(colour(other, theme))].sort((a, b) => a - b) as [
    number,
    number,
  ];
  return (high + 0.05) / (low + 0.05);
}

const grounds = ["paper", "surface", "sunken", "hover"];
const text: [string, string][] = [
  ...grounds.flatMap((ground): [string, string][] => [
    ["ink", ground],
    ["ink-soft", ground],
  ]),
  ["accent", "paper"],
  ["accent", "surface"],
  ["accent-hover", "paper"],
  ["ink", "accent-soft"],
  ["on-accent", "accent"],
  ["on-accent", "accent-hover"],
  ["on-accent-soft", "accent-soft"],
  ["on-danger", "danger"],
  ["on-danger", "danger-hover"],
  ["on-danger-soft", "danger-soft"],
  ["on-note-soft", "note-soft"],
];

test.each([
  ["light", 0],
  ["dark", 1],
] as const)("every pair has the contrast it needs, %s", (_, theme) => {
  for (const [ink, ground] of text) {
    expect(contrast(ink, ground, theme), `${ink} on ${ground}`).toBeGreaterThanOrEqual(4.5);
  }
  for (const ground of ["paper", "surface"]) {
    expect(contrast("line-strong", ground, theme), `outline on ${ground}`).toBeGreaterThanOrEqual(3);
    expect(contrast("danger", ground, theme), `error outline on ${ground}`).toBeGreaterThanOrEqual(3);
  }
});
