// Server-sent events, from text that arrives in pieces of any size. Pure: `run.ts` feeds it.

export interface ServerEvent {
  id: string;
  data: string;
}

export class EventTooLong extends Error {}

export class EventStreamParser {
  #line = "";
  #data: string[] = [];
  #size = 0;
  #id = "";
  #afterReturn = false;
  #begun = false;

  /** `limit` bounds one event, in UTF-16 units, so that a stream without an end cannot fill the memory. */
  constructor(readonly limit: number = 1 << 20) {}

  /** The events that `piece` completes. Throws `EventTooLong`. */
  push(piece: string): ServerEvent[] {
    if (!piece) return [];
    let rest = this.#begun ? piece : piece.replace(/^\uFEFF/, "");
    this.#begun = true;
    if (this.#afterReturn && rest.startsWith("\n")) rest = rest.slice(1);
    this.#afterReturn = piece.endsWith("\r");
    const lines = (this.#line + rest).split(/\r\n|\n|\r/);
    this.#line = lines.pop() ?? "";
    const events: ServerEvent[] = [];
    for (const line of lines) {
      const event = this.#take(line);
      if (event) events.push(event);
    }
    if (this.#line.length + this.#size > this.limit) throw new EventTooLong();
    return events;
  }

  #take(line: string): ServerEvent | null {
    if (line === "") {
      const data = this.#data;
      this.#data = [];
      this.#size = 0;
      return data.length ? { id: this.#id, data: data.join("\n") } : null;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") {
      this.#data.push(value);
      this.#size += value.length;
      if (this.#size > this.limit) throw new EventTooLong();
    } else if (field === "id" && !value.includes("\0")) {
      this.#id = value;
    }
    return null;
  }
}
