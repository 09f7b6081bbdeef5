// One answer as it streams: AG-UI events in, and how the stream ended. A stream that merely stops is `broken`: only
// RUN_FINISHED makes an answer complete.

import { send } from "./http";
import { EventStreamParser, EventTooLong } from "./sse";

export interface RunListener {
  text(delta: string): void;
  titled(title: string): void;
  /** The question stands in line: how many go before it, and about how many seconds that will take. */
  waiting(position: number, seconds: number): void;
}

export type Outcome = { kind: "finished" } | { kind: "failed"; message: string } | { kind: "stopped" | "broken" };

export type Ask = { content: string; assistant: string } | { regenerate: true; assistant: string };

/** Ask, and tell `listener` what comes. Throws `ApiError` when the question was refused before any answer began. */
export async function run(path: string, ask: Ask, listener: RunListener, signal: AbortSignal): Promise<Outcome> {
  try {
    const response = await send("POST", path, ask, signal);
    if (!response.body) return { kind: "broken" };
    return await follow(response.body, listener);
  } catch (error) {
    if (signal.aborted) return { kind: "stopped" };
    throw error;
  }
}

/** Read the stream until the run ends. What follows the end is not read. */
export async function follow(body: ReadableStream<Uint8Array>, listener: RunListener): Promise<Outcome> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventStreamParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { kind: "broken" };
      for (const event of parser.push(decoder.decode(value, { stream: true }))) {
        const outcome = take(event.data, listener);
        if (outcome) return outcome;
      }
    }
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    if (error instanceof TypeError || error instanceof SyntaxError || error instanceof EventTooLong) {
      return { kind: "broken" };
    }
    throw error;
  } finally {
    reader.cancel().catch(() => {});
  }
}

function take(data: string, listener: RunListener): Outcome | null {
  const event = JSON.parse(data) as Record<string, unknown>;
  switch (event.type) {
    case "TEXT_MESSAGE_CONTENT":
      if (typeof event.delta === "string") listener.text(event.delta);
      return null;
    case "CUSTOM": {
      const value = event.value as { title?: unknown; position?: unknown; seconds?: unknown } | undefined;
      if (event.name === "conversation_titled" && typeof value?.title === "string") listener.titled(value.title);
      if (event.name === "waiting" && typeof value?.position === "number" && typeof value.seconds === "number") {
        listener.waiting(value.position, value.seconds);
      }
      return null;
    }
    case "RUN_FINISHED":
      return { kind: "finished" };
    case "RUN_ERROR":
      return {
        kind: "failed",
        message: typeof event.message === "string" && event.message ? event.message : "The answer failed. Try again.",
      };
    default:
      return null;
  }
}
