import { expect, test } from "vitest";
import { follow, type Outcome } from "./run";

const encode = (event: object, id = 1) => `id: ${id}\ndata: ${JSON.stringify(event)}\n\n`;
const START = encode({ type: "RUN_STARTED", threadId: "t", runId: "r" });
const END = encode({ type: "RUN_FINISHED", threadId: "t", runId: "r" });
const text = (delta: string) => encode({ type: "TEXT_MESSAGE_CONTENT", messageId: "m", delta });

async function answer(
  ...pieces: (string | Uint8Array | Error)[]
): Promise<{ outcome: Outcome; text: string; title: string }> {
  const told = { text: "", title: "" };
  const lines: [number, number][] = [];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const piece = pieces.shift();
      if (piece === undefined) controller.close();
      else if (piece instanceof Error) controller.error(piece);
      else controller.enqueue(typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
    },
  });
  const outcome = await follow(body, {
    text: (delta) => {
      told.text += delta;
    },
    titled: (title) => {
      told.title = title;
    },
    waiting: (position, seconds) => lines.push([position, seconds]),
  });
  return { outcome, ...told, ...(lines.length ? { lines } : {}) };
}

test("a finished run is complete, with its text and title", async () => {
  const titled = encode({ type: "CUSTOM", name: "conversation_titled", value: { title: "Servers" } });
  expect(await answer(START, ": keep-alive\n\n", text("Hel"), text("lo"), titled, END)).toEqual({
    outcome: { kind: "finished" },
    text: "Hello",
    title: "Servers",
  });
});

test("who waits in line is told so", async () => {
  const waiting = encode({ type: "CUSTOM", name: "waiting", value: { position: 2, seconds: 9 } });
  expect(await answer(START, waiting, text("Hello"), END)).toMatchObject({ text: "Hello", lines: [[2, 9]] });
});

test("a stream that ends without a word is broken, never complete", async () => {
  expect((await answer(START, text("Hel"))).outcome).toEqual({ kind: "broken" });
  expect((await answer()).outcome).toEqual({ kind: "broken" });
  expect((await answer(START, END.slice(0, -1))).outcome).toEqual({ kind: "broken" });
});

test("a connection that fails, or sends what is not JSON, is broken", async () => {
  expect((await answer(START, new TypeError("network error"))).outcome).toEqual({ kind: "broken" });
  expect((await answer("data: <html>\n\n")).outcome).toEqual({ kind: "broken" });
});

test("an error event carries its text", async () => {
  const failed = encode({ type: "RUN_ERROR", message: "The model's engine failed.", code: "engine_failed" });
  expect((await answer(START, text("a"), failed, END)).outcome).toEqual({
    kind: "failed",
    message: "The model's engine failed.",
  });
});

test("a character that is cut between two pieces arrives whole", async () => {
  const bytes = new TextEncoder().encode(text("😀") + END);
  for (let cut = 1; cut < bytes.length; cut += 1) {
    expect((await answer(bytes.slice(0, cut), bytes.slice(cut))).text).toBe("😀");
  }
});

test("stopping is not a broken stream", async () => {
  await expect(answer(START, new DOMException("stopped", "AbortError"))).rejects.toThrow("stopped");
});
