// What changes how somebody signs in needs a fresh proof that it is them. The server says when; then the password is
// asked for once and the work is done again.

import { ApiError, call } from "../api/http";

class Confirmation {
  /** Whether the password is being asked for. */
  asked = $state(false);
  #answer: ((confirmed: boolean) => void) | null = null;

  /** Do `work`; where the server wants a fresh proof, ask and do it once more. Undefined when that was declined. */
  async around<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "confirm_first")) throw error;
    }
    const confirmed = await new Promise<boolean>((resolve) => {
      this.#answer = resolve;
      this.asked = true;
    });
    return confirmed ? work() : undefined;
  }

  async confirm(password: string): Promise<void> {
    await call("POST", "/api/account/confirm", { password });
    this.#end(true);
  }

  decline(): void {
    this.#end(false);
  }

  #end(confirmed: boolean) {
    this.asked = false;
    this.#answer?.(confirmed);
    this.#answer = null;
  }
}

export const confirmation = new Confirmation();
