// The roles that somebody of a role may give: none above their own. The server decides; this only shapes the lists.

const EVERY = ["member", "reviewer", "auditor", "admin", "owner"];

export const OF_GROUPS = ["member", "reviewer", "admin"];

export function giveable(own: string): string[] {
  if (own === "owner") return EVERY;
  return own === "admin" ? EVERY.filter((role) => role !== "owner") : [];
}
