// Who is here: the site, the person, and what belongs to the person. Gone as a whole when the session ends.

import { call, explain, whenSignedOut } from "./api/http";
import type { Farewell, Me, Site } from "./api/types";
import { Chats } from "./chat/chats.svelte";
import { go, router } from "./router.svelte";

/** The pages that need a person. */
export const INSIDE = /^\/(?:chat(?:\/[A-Za-z0-9_-]{1,64})?\/?|settings|account|people)$/;

class Session {
  site = $state<Site | null>(null);
  me = $state<Me | null>(null);
  chats = $state.raw<Chats | null>(null);
  /** Why the page cannot show anything; empty when it can. */
  problem = $state("");
  /** What the sign-in form says above its fields. */
  notice = $state("");
  /** Where the person can sign out at their provider too, after signing out here. */
  farewell = $state.raw<Farewell | null>(null);
  #wanted = "";

  /** The page that was asked for before somebody signed in; empty for none. */
  get wanted(): string {
    return this.#wanted;
  }

  /** Ask who is here. */
  async begin(): Promise<void> {
    this.problem = "";
    try {
      this.site = await call<Site>("GET", "/api/site");
      if (this.site.signed_in) await this.enter();
    } catch (error) {
      if (this.site && !this.site.signed_in) return;
      this.problem = explain(error);
    }
  }

  /** The session cookie is set: load the person, then show what was asked for. */
  async enter(): Promise<void> {
    const me = await call<Me>("GET", "/api/me");
    this.chats = new Chats();
    this.me = me;
    this.site = { ...this.site, workspace: { name: me.workspace.name }, claimed: true, signed_in: true };
    this.notice = "";
    this.farewell = null;
    const start = me.permissions.includes("chat") && !me.held_back ? "/chat" : "/account";
    if (start === "/account") go(start, { replace: true });
    else if (["/", "/claim", "/join"].includes(router.path)) go(this.#wanted || start, { replace: true });
    this.#wanted = "";
  }

  /** What the person may do has changed: ask again. */
  async refresh(): Promise<void> {
    this.me = await call<Me>("GET", "/api/me");
  }

  async signOut(): Promise<void> {
    const told = await call<{ provider?: Farewell }>("POST", "/api/sign-out");
    this.#leave();
    this.farewell = told.provider ?? null;
    this.#wanted = "";
    go("/");
  }

  /** The server says that nobody is signed in any more. */
  ended(): void {
    if (this.me) this.notice = "Your session has ended. Sign in again to go on.";
    this.#leave();
    go("/", { replace: true });
  }

  /** A page was opened that needs a person: sign in first, then go there. */
  require(path: string): void {
    this.#wanted = path;
    go("/", { replace: true });
  }

  #leave(): void {
    if (this.me && INSIDE.test(router.path)) this.#wanted = router.path;
    this.chats?.stopAll();
    this.chats = null;
    this.me = null;
    if (this.site) this.site = { ...this.site, signed_in: false };
  }
}

export const session = new Session();
whenSignedOut(() => session.ended());
