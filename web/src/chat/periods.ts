// Conversations by how long ago they were used, for the list's headings.

import type { Conversation } from "../api/types";

export interface Period {
  name: string;
  conversations: Conversation[];
}

const DAY = 86_400_000;

/** `conversations`, newest first, under the headings that have any. `now` is in milliseconds. */
export function periods(conversations: readonly Conversation[], now: number): Period[] {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  const limits: [string, number][] = [
    ["Today", midnight],
    ["Yesterday", midnight - DAY],
    ["Last 7 days", midnight - 7 * DAY],
    ["Last 30 days", midnight - 30 * DAY],
    ["Older", Number.NEGATIVE_INFINITY],
  ];
  const found = limits.map(([name]): Period => ({ name, conversations: [] }));
  for (const conversation of conversations) {
    const index = limits.findIndex(([, since]) => conversation.updated_at * 1000 >= since);
    found[index]?.conversations.push(conversation);
  }
  return found.filter((period) => period.conversations.length > 0);
}
