// What the console's web API answers. The console's routes are the other half of this contract.

/** Anything that a list shows. */
export interface Named {
  id: string;
}

/** A sign-in provider of the workspace. */
export interface Provider {
  name: string;
  title: string;
}

/** Where somebody who signed in by a provider can sign out there. */
export interface Farewell {
  title: string;
  address: string;
}

/** A provider that knows the person. */
export interface LinkedProvider {
  name: string;
  title: string;
  created_at: number;
}

export interface Site {
  workspace: { name: string };
  claimed: boolean;
  signed_in: boolean;
  providers?: Provider[];
}

export interface Person {
  id: string;
  name: string;
  email: string;
  role: string;
}

export interface Me {
  user: Person;
  workspace: { id: string; name: string };
  /** What the person's role may do. */
  permissions: string[];
  /** The role needs a second factor, and this session has none: only the account can be used. */
  held_back: boolean;
}

export interface Passkey {
  id: string;
  name: string;
  created_at: number;
  last_used_at: number | null;
}

export interface Factors {
  providers: LinkedProvider[];
  password: boolean;
  totp: boolean;
  recovery_codes_left: number;
  passkeys: Passkey[];
  demanded: boolean;
}

/** What an authenticator app is set up with. The picture is a path over a square of `size` units. */
export interface Enrolment {
  secret: string;
  address: string;
  picture: { size: number; path: string };
}

export interface BrowserSession {
  id: string;
  place: string;
  methods: string[];
  created_at: number;
  last_used_at: number | null;
  current: boolean;
}

export interface Member extends Person {
  disabled: boolean;
  effective_role: string;
}

export interface Invitation {
  id: string;
  email: string;
  role: string;
  expires_at: number;
}

export interface Group {
  id: string;
  name: string;
  role: string | null;
  members: string[];
}

export interface Assistant {
  id: string;
  name: string;
  description: string;
  default: boolean;
  /** Where it runs: in its sealed box, unsealed on this server (a development driver), or on a declared outside server. */
  place: "sealed" | "unsealed" | "outside";
}

/** Times are seconds since 1970. The title is empty until the first answer gave one. */
export interface Conversation {
  id: string;
  title: string;
  updated_at: number;
}

export interface StoredMessage {
  id: string;
  role: "user" | "assistant";
  content: string;
  status: "complete" | "streaming" | "stopped" | "failed";
  error?: string | null;
}

export interface ApiKey {
  id: string;
  name: string;
  hint: string;
  created_at: number;
  last_used_at: number | null;
  revoked_at: number | null;
}
