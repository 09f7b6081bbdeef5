// One conversation on the page: its messages, and the answer that may be streaming into it. It goes on while another
// conversation is shown; closing the page stops it.

import { ApiError, call, explain } from "../api/http";
import { type Ask, run } from "../api/run";
import type { Conversation, StoredMessage } from "../api/types";

export type EntryStatus = StoredMessage["status"] | "broken";

export interface Entry {
  key: string;
  role: "user" | "assistant";
  text: string;
  status: EntryStatus;
  error: string;
  reference: string;
  /** Where it stands in line, while nothing is there to read yet. */
  waiting?: { position: number; seconds: number };
}

const FLUSH_MS = 40;
const WATCH_MS = 2000;

export class Thread {
  title = $state("");
  entries = $state<Entry[]>([]);
  phase = $state<"loading" | "ready" | "missing" | "failed">("loading");
  problem = $state("");
  running = $state(false);
  /** What a screen reader is told about the answer: its start and its end, never each token. */
  announcement = $state("");

  #abort: AbortController | null = null;
  #keys = 0;

  constructor(
    readonly id: string,
    private readonly changed: (title: string | null) => void,
  ) {}

  /** An empty conversation that the server has just made. */
  begin(): void {
    this.phase = "ready";
  }

  /** Read the conversation from the server; what is on the page goes. */
  async load(): Promise<void> {
    if (this.running) return;
    try {
      const told = await call<{ conversation: Conversation; messages: StoredMessage[] }>("GET", this.#path);
      if (this.running) return;
      this.title = told.conversation.title;
      this.entries = told.messages.map((message) => ({
        key: message.id,
        role: message.role,
        text: message.content,
        status: message.status,
        error: message.error ?? "",
        reference: "",
      }));
      this.phase = "ready";
      // Another page of this person is being answered: look again until it is done.
      if (this.entries.at(-1)?.status === "streaming") setTimeout(() => this.load(), WATCH_MS);
    } catch (error) {
      this.problem = explain(error);
      this.phase = error instanceof ApiError && error.status === 404 ? "missing" : "failed";
    }
  }

  async ask(content: string, assistant: string): Promise<void> {
    if (this.running) return;
    this.#add("user", content, "complete");
    await this.#answer({ content, assistant });
  }

  /** Answer the last question again, in place of the last answer. */
  async regenerate(assistant: string): Promise<void> {
    if (this.running) return;
    if (this.entries.at(-1)?.role === "assistant") this.entries.pop();
    await this.#answer({ regenerate: true, assistant });
  }

  /** After a failure: ask again, or again for an answer if the server has kept the question. */
  async retry(assistant: string): Promise<void> {
    if (this.running) return;
    const question = this.entries.findLast((entry) => entry.role === "user")?.text ?? "";
    const before = this.entries.filter((entry) => entry.role === "user").length;
    await this.load();
    if (this.phase !== "ready") return;
    const kept = this.entries.filter((entry) => entry.role === "user").length >= before;
    if (kept) await this.regenerate(assistant);
    else await this.ask(question, assistant);
  }

  /** Stop the answer, here and at the engine: the server cancels when the request goes away. */
  stop(): void {
    this.#abort?.abort();
  }

  get #path(): string {
    return `/api/conversations/${encodeURIComponent(this.id)}`;
  }

  #add(role: Entry["role"], text: string, status: EntryStatus): Entry {
    this.#keys += 1;
    const index = this.entries.push({ key: `new-${this.#keys}`, role, text, status, error: "", reference: "" });
    return this.entries[index - 1] as Entry;
  }

  async #answer(ask: Ask): Promise<void> {
    const entry = this.#add("assistant", "", "streaming");
    const abort = new AbortController();
    this.#abort = abort;
    this.running = true;
    this.announcement = "Answering.";
    this.changed(null);
    const buffer = new Buffered((text) => {
      entry.text += text;
    });
    try {
      const outcome = await run(
        `${this.#path}/messages`,
        ask,
        {
          text: (delta) => buffer.add(delta),
          titled: (title) => {
            this.title = title;
            this.changed(title);
          },
          waiting: (position, seconds) => {
            entry.waiting = { position, seconds };
          },
        },
        abort.signal,
      );
      buffer.flush();
      entry.status = outcome.kind === "finished" ? "complete" : outcome.kind;
      if (outcome.kind === "failed") entry.error = outcome.message;
    } catch (error) {
      buffer.flush();
      entry.status = "failed";
      entry.error = explain(error);
      entry.reference = error instanceof ApiError ? error.reference : "";
    } finally {
      this.running = false;
      this.#abort = null;
      this.announcement = spoken(entry);
    }
  }
}

/** Collects tokens and hands them on a few times a second, so that a fast model does not redraw for each. */
class Buffered {
  #text = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly take: (text: string) => void) {}

  add(text: string): void {
    this.#text += text;
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#text) this.take(this.#text);
    this.#text = "";
  }
}

const SPOKEN = 600;

function spoken(entry: Entry): string {
  switch (entry.status) {
    case "complete":
      return entry.text.length <= SPOKEN ? `Answer: ${entry.text}` : "The answer is complete.";
    case "stopped":
      return "The answer was stopped.";
    case "failed":
      return `The answer failed. ${entry.error}`;
    default:
      return "The connection broke before the answer was complete.";
  }
}
