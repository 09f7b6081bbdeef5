// Why signing in by a provider did not work: the server says one of these words in the address, and nothing else.

const TEXTS: Record<string, string> = {
  account_disabled: "Your account is disabled. Ask this workspace's administrator.",
  provider_away: "The sign-in provider cannot be used at the moment. Try again in a little while.",
  provider_claims: "The sign-in provider did not say who you are. Ask this workspace's administrator.",
  provider_denied: "The sign-in provider did not let you in.",
  provider_email_domain: "Accounts of your e-mail domain are not let in here.",
  provider_email_taken:
    "There is an account with your e-mail address already. Sign in to it as before, or ask this workspace's administrator to link it.",
  provider_email_unverified: "The sign-in provider did not say that your e-mail address is verified.",
  provider_no_account: "You have no account here. Ask this workspace's administrator.",
  provider_unknown: "There is no such sign-in provider here.",
  sign_in_again: "This sign-in was begun too long ago, or in another window. Begin again.",
  too_many_tries: "Too many tries. Wait a little, then try again.",
};

/** The text for the word in the page's address, and the word taken out of it. Empty when there is none. */
export function takeProblem(): string {
  const text = problemIn(location.search);
  if (text) history.replaceState(null, "", location.pathname);
  return text;
}

/** The text for the word in a query; nothing that the address says is ever shown. */
export function problemIn(query: string): string {
  const word = new URLSearchParams(query).get("problem");
  if (word === null) return "";
  return (Object.hasOwn(TEXTS, word) && TEXTS[word]) || "Signing in by the provider did not work. Try again.";
}
