// Every call to the console goes through here: JSON in, JSON out, errors as `ApiError` with a text fit to show.

export class ApiError extends Error {
  /** `status` 0 means that no answer came at all. `reference` is the number under which the operator finds the case. */
  constructor(
    message: string,
    readonly status: number,
    readonly code: string = "",
    readonly reference: string = "",
  ) {
    super(message);
  }
}

const UNREACHABLE = "The server cannot be reached. Check your connection, then try again.";

const BY_STATUS: Record<number, string> = {
  403: "You are not allowed to do this. Ask your administrator.",
  404: "This no longer exists.",
  413: "This is too long. Shorten it and try again.",
  429: "Too many requests just now. Wait a moment, then try again.",
  502: "The model is not answering. Try again; if it lasts, tell your administrator.",
  503: "The server is busy or starting. Try again in a moment.",
  504: "The model took too long. Try again, or ask for something shorter.",
};

let signedOut: () => void = () => {};

/** `then` is called whenever the session turns out to have ended. */
export function whenSignedOut(then: () => void): void {
  signedOut = then;
}

/** One call; the parsed answer. Throws `ApiError`. */
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await send(method, path, body);
  try {
    return (await response.json()) as T;
  } catch {
    throw new ApiError("The server's answer could not be read. Try again.", response.status);
  }
}

/** One call; the response itself, for a stream. Throws `ApiError`, and `AbortError` when `signal` fired. */
export async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const request: RequestInit = { method, credentials: "same-origin", cache: "no-store", redirect: "error" };
  if (signal) request.signal = signal;
  if (method !== "GET") {
    request.headers = { "content-type": "application/json" };
    request.body = JSON.stringify(body ?? {});
  }
  let response: Response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(UNREACHABLE, 0);
  }
  if (response.ok) return response;
  const refused = await refusal(response);
  if (response.status === 401 && !path.startsWith("/api/sign-in")) signedOut();
  throw refused;
}

async function refusal(response: Response): Promise<ApiError> {
  let told: { message?: unknown; code?: unknown; request_id?: unknown } = {};
  try {
    told = ((await response.json()) as { error?: typeof told }).error ?? {};
  } catch {
    // Not from the console: the edge answers in plain text.
  }
  const wait = Number(response.headers.get("retry-after"));
  let message = text(told.message) || BY_STATUS[response.status] || "That did not work. Try again.";
  if (wait > 0 && (response.status === 429 || response.status === 503)) {
    message = `${message} (Try again in ${wait === 1 ? "1 second" : `${Math.ceil(wait)} seconds`}.)`;
  }
  return new ApiError(message, response.status, text(told.code), text(told.request_id));
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The text to show for anything that was thrown. */
export function explain(error: unknown): string {
  return error instanceof ApiError ? error.message : "Something went wrong in this page. Reload it and try again.";
}
