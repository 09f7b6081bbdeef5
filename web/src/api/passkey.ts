// The browser's two passkey ceremonies, in the JSON forms of WebAuthn level 3.

import { ApiError, call } from "./http";

/** Whether this browser can do them here (a bare IP address cannot have a passkey). */
export const passkeysWork: boolean =
  typeof PublicKeyCredential === "function" &&
  "parseCreationOptionsFromJSON" in PublicKeyCredential &&
  !/^(?:\[|[\d.]+$)/.test(location.hostname);

const GIVEN_UP = "No passkey was used.";

/** Make a passkey on this device and add it to the account. Throws `ApiError`. */
export async function addPasskey(name: string): Promise<void> {
  const { options } = await call<{ options: PublicKeyCredentialCreationOptionsJSON }>("POST", "/api/passkeys/options");
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const credential = await asked(() => navigator.credentials.create({ publicKey }));
  await call("POST", "/api/passkeys", { name, credential });
}

/** Sign in with a passkey that this device has. Throws `ApiError`. */
export async function signInByPasskey(): Promise<void> {
  const path = "/api/sign-in/passkey";
  const { options } = await call<{ options: PublicKeyCredentialRequestOptionsJSON }>("POST", `${path}/options`);
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  const credential = await asked(() => navigator.credentials.get({ publicKey }));
  await call("POST", path, { credential });
}

async function asked(ceremony: () => Promise<Credential | null>): Promise<unknown> {
  try {
    const credential = await ceremony();
    if (credential instanceof PublicKeyCredential) return credential.toJSON();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
  throw new ApiError(GIVEN_UP, 0, "passkey_given_up");
}
