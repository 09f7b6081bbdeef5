import { describe, expect, test } from "vitest";
import { EventStreamParser, EventTooLong, type ServerEvent } from "./sse";

function parsed(...pieces: string[]): ServerEvent[] {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

const STREAM =
  '\uFEFF: hello\nid: 1\ndata: {"a":"é😀"}\n\n: keep-alive\n\nid: 2\r\ndata:one\r\ndata:  two\r\n\r\nevent: x\rdata\r\r';
const EVENTS = [
  { id: "1", data: '{"a":"é😀"}' },
  { id: "2", data: "one\n two" },
  { id: "2", data: "" },
];

describe("EventStreamParser", () => {
  test("reads fields, comments, every line end, and a byte-order mark", () => {
    expect(parsed(STREAM)).toEqual(EVENTS);
  });

  test("gives the same events however the text is cut", () => {
    for (let cut = 0; cut <= STREAM.length; cut += 1) {
      expect(parsed(STREAM.slice(0, cut), STREAM.slice(cut)), `cut at ${cut}`).toEqual(EVENTS);
    }
    expect(parsed(...STREAM)).toEqual(EVENTS);
  });

  test("gives no event for what is not finished", () => {
    expect(parsed("id: 1\ndata: {}\n")).toEqual([]);
  });

  test("refuses an event without an end, as one line or as many", () => {
    const long = new EventStreamParser(100);
    expect(() => long.push(`data: ${"x".repeat(101)}`)).toThrow(EventTooLong);
    const many = new EventStreamParser(100);
    expect(() => many.push("data: 0123456789\n".repeat(11))).toThrow(EventTooLong);
  });
});
