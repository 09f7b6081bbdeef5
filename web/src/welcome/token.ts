// The token comes in the fragment, so that no server and no log ever sees it. It leaves the address bar and the
// history entry at once and lives in this variable only.
let token = "";

export function takeToken(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    token = given;
    history.replaceState(null, "", location.pathname);
  }
  return token;
}

/** It was used. */
export function dropToken(): void {
  token = "";
}
