// What a message may contain. Whatever markdown says, only these shapes reach the page: no raw HTML, no images, no
// address that is not http, https or mailto.

export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "break" }
  | { kind: "strong"; children: Inline[] }
  | { kind: "emphasis"; children: Inline[] }
  | { kind: "deleted"; children: Inline[] }
  | { kind: "link"; target: string; place: string; children: Inline[] };

export type Alignment = "left" | "center" | "right" | null;

export interface Item {
  done: boolean | null;
  children: Block[];
}

export type Block =
  | { kind: "paragraph"; children: Inline[] }
  | { kind: "heading"; level: number; children: Inline[] }
  | { kind: "code"; language: string; text: string }
  | { kind: "quote"; children: Block[] }
  | { kind: "list"; ordered: boolean; start: number; tight: boolean; items: Item[] }
  | { kind: "table"; align: Alignment[]; head: Inline[][]; rows: Inline[][][] }
  | { kind: "rule" };
