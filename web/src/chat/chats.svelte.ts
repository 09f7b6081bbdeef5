// A person's conversations and assistants. One for each session; `Session` makes it and lets it go.

import { call } from "../api/http";
import type { Assistant, Conversation } from "../api/types";
import { Thread } from "./thread.svelte";

const KEY = "freehold.assistant";

export class Chats {
  conversations = $state.raw<Conversation[]>([]);
  assistants = $state.raw<Assistant[]>([]);
  loaded = $state(false);
  #chosen = $state("");
  #threads = new Map<string, Thread>();

  /** The list and the assistants. Throws `ApiError`. */
  async load(): Promise<void> {
    const [list, assistants] = await Promise.all([
      call<{ conversations: Conversation[] }>("GET", "/api/conversations"),
      call<{ assistants: Assistant[] }>("GET", "/api/assistants"),
    ]);
    this.conversations = list.conversations;
    this.assistants = assistants.assistants;
    this.#chosen = remembered();
    this.loaded = true;
  }

  /** The assistant that answers next: the chosen one, else the default, else the first. */
  get assistant(): Assistant | undefined {
    const all = this.assistants;
    return all.find((one) => one.id === this.#chosen) ?? all.find((one) => one.default) ?? all[0];
  }

  choose(id: string): void {
    this.#chosen = id;
    try {
      localStorage.setItem(KEY, id);
    } catch {
      // Nothing can be kept: the choice lasts as long as the page.
    }
  }

  /** The conversation `id`, read from the server unless an answer is streaming into it. */
  open(id: string): Thread {
    const known = this.#threads.get(id);
    if (known) {
      if (known.phase !== "loading" && !known.running) known.load();
      return known;
    }
    const thread = this.#thread(id);
    thread.load();
    return thread;
  }

  /** A new conversation. Throws `ApiError`. */
  async create(): Promise<Thread> {
    const { conversation } = await call<{ conversation: Conversation }>("POST", "/api/conversations", {});
    const thread = this.#thread(conversation.id);
    thread.begin();
    this.conversations = [conversation, ...this.conversations];
    return thread;
  }

  async rename(id: string, title: string): Promise<void> {
    await call("PATCH", `/api/conversations/${encodeURIComponent(id)}`, { title });
    this.#update(id, { title });
    const thread = this.#threads.get(id);
    if (thread) thread.title = title;
  }

  async remove(id: string): Promise<void> {
    this.#threads.get(id)?.stop();
    await call("DELETE", `/api/conversations/${encodeURIComponent(id)}`);
    this.#threads.delete(id);
    this.conversations = this.conversations.filter((one) => one.id !== id);
  }

  stopAll(): void {
    for (const thread of this.#threads.values()) thread.stop();
  }

  #thread(id: string): Thread {
    const thread = new Thread(id, (title) => {
      this.#update(id, title === null ? { updated_at: Date.now() / 1000 } : { title });
    });
    this.#threads.set(id, thread);
    return thread;
  }

  #update(id: string, change: Partial<Conversation>): void {
    this.conversations = this.conversations
      .map((one) => (one.id === id ? { ...one, ...change } : one))
      .sort((a, b) => b.updated_at - a.updated_at);
  }
}

function remembered(): string {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}
