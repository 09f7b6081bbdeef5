// Markdown to the allow-listed tree. The tokenizer is `marked`'s lexer; its renderer is not used. Anything the tree has
// no shape for (HTML, images) becomes the text that was written. `GrowingText` keeps a streaming answer cheap: blocks
// that can no longer change are parsed once.

import { Lexer, type Token, type Tokens } from "marked";
import { decodeEntities } from "./entities";
import { place } from "./link";
import type { Block, Inline } from "./tree";

const LONGEST = 200_000;
const LONGEST_INLINE = 20_000;
const MOST_MARKS = 500;
const DEEPEST = 12;

/** The whole of `source` as blocks. Text that is too long or too deeply nested to parse comes back as it was written. */
export function parse(source: string): Block[] {
  return blocks(lex(unixLines(source)), 0);
}

/** Parses a text that only ever grows at its end, reusing what came out of the settled part. */
export class GrowingText {
  #settled: Block[] = [];
  #length = 0;
  #source = "";

  /** The blocks of `written`. Blocks that were settled before are the very same objects. */
  update(written: string): Block[] {
    const source = unixLines(written);
    if (!source.startsWith(this.#source.slice(0, this.#length)) || source.length > LONGEST) {
      this.#settled = [];
      this.#length = 0;
    }
    this.#source = source;
    const tokens = lex(source.slice(this.#length));
    // The last block that is not blank may still grow: a list goes on after an empty line, a paragraph becomes a table.
    let open = tokens.length - 1;
    while (open > 0 && tokens[open]?.type === "space") open -= 1;
    const closed = tokens.slice(0, Math.max(open, 0));
    const read = closed.map((token) => token.raw).join("");
    if (!source.startsWith(read, this.#length)) return [...this.#settled, ...blocks(tokens, 0)];
    this.#settled = [...this.#settled, ...blocks(closed, 0)];
    this.#length += read.length;
    return [...this.#settled, ...blocks(tokens.slice(closed.length), 0)];
  }
}

/** How many characters may begin or end emphasis. */
function marks(text: string): number {
  let count = 0;
  for (const character of text) if (character === "*" || character === "_" || character === "~") count += 1;
  return count;
}

function unixLines(text: string): string {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

function lex(source: string): Token[] {
  if (source.length > LONGEST) return [plain(source)];
  try {
    const lexer = new Lexer({ gfm: true });
    lexer.blockTokens(source, lexer.tokens);
    // What `Lexer.lex` does next, but with bounds: emphasis is matched in quadratic time.
    for (const { src, tokens } of lexer.inlineQueue) {
      if (src.length <= LONGEST_INLINE && marks(src) <= MOST_MARKS) lexer.inlineTokens(src, tokens);
      else tokens.push(plain(src));
    }
    return lexer.tokens;
  } catch (error) {
    if (error instanceof RangeError) return [plain(source)]; // nested beyond what the call stack holds
    throw error;
  }
}

function plain(source: string): Tokens.HTML {
  return { type: "html", raw: source, pre: false, text: source, block: true };
}

function blocks(tokens: Token[], depth: number): Block[] {
  return tokens.flatMap((token) => {
    const made = block(token as Tokens.Generic, depth);
    return made ? [made] : [];
  });
}

function block(token: Tokens.Generic, depth: number): Block | null {
  if (depth > DEEPEST) return written(token.raw);
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return { kind: "heading", level: token.depth, children: inlines(token.tokens, depth) };
    case "code":
      return { kind: "code", language: String(token.lang ?? "").split(/\s/)[0] ?? "", text: token.text };
    case "blockquote":
      return { kind: "quote", children: blocks(token.tokens ?? [], depth + 1) };
    case "hr":
      return { kind: "rule" };
    case "list":
      return list(token as Tokens.List, depth);
    case "table":
      return table(token as Tokens.Table, depth);
    case "paragraph":
    case "text":
      return { kind: "paragraph", children: token.tokens ? inlines(token.tokens, depth) : [textOf(token)] };
    default:
      return written(token.raw);
  }
}

function list(token: Tokens.List, depth: number): Block {
  return {
    kind: "list",
    ordered: token.ordered,
    start: Number(token.start) || 1,
    tight: !token.loose,
    items: token.items.map((item) => ({
      done: item.task ? item.checked === true : null,
      children: blocks(
        item.tokens.filter((part) => part.type !== "checkbox"),
        depth + 1,
      ),
    })),
  };
}

function table(token: Tokens.Table, depth: number): Block {
  return {
    kind: "table",
    align: token.align,
    head: token.header.map((cell) => inlines(cell.tokens, depth)),
    rows: token.rows.map((row) => row.map((cell) => inlines(cell.tokens, depth))),
  };
}

/** Text as it was written, with its lines. */
function written(raw: string): Block {
  const children: Inline[] = [];
  for (const line of raw.replace(/\n+$/, "").split("\n")) {
    if (children.length) children.push({ kind: "break" });
    if (line) children.push({ kind: "text", text: line });
  }
  return { kind: "paragraph", children };
}

function inlines(tokens: Token[] | undefined, depth: number): Inline[] {
  return (tokens ?? []).flatMap((token) => inline(token as Tokens.Generic, depth + 1));
}

function inline(token: Tokens.Generic, depth: number): Inline[] {
  if (depth > DEEPEST * 2) return [{ kind: "text", text: token.raw }];
  switch (token.type) {
    case "checkbox":
      return [];
    case "strong":
      return [{ kind: "strong", children: inlines(token.tokens, depth) }];
    case "em":
      return [{ kind: "emphasis", children: inlines(token.tokens, depth) }];
    case "del":
      return [{ kind: "deleted", children: inlines(token.tokens, depth) }];
    case "codespan":
      return [{ kind: "code", text: token.text }];
    case "br":
      return [{ kind: "break" }];
    case "escape":
      return [{ kind: "text", text: token.text }];
    case "link":
      return link(token as Tokens.Link, depth);
    case "text":
      return token.tokens ? inlines(token.tokens, depth) : [textOf(token)];
    case "html":
      return /^<br\s*\/?>$/i.test(token.raw) ? [{ kind: "break" }] : [{ kind: "text", text: token.raw }];
    default:
      return [{ kind: "text", text: token.raw }];
  }
}

function link(token: Tokens.Link, depth: number): Inline[] {
  const goes = place(decodeEntities(token.href));
  if (!goes) return [{ kind: "text", text: token.raw }];
  return [{ kind: "link", target: goes.target, place: goes.place, children: inlines(token.tokens, depth) }];
}

function textOf(token: Tokens.Generic): Inline {
  return { kind: "text", text: decodeEntities(token.text ?? token.raw) };
}
