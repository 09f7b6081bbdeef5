// What the console's web API answers. The console's routes are the other half of this contract.

export interface Site {
  workspace: { name: string };
  claimed: boolean;
  signed_in: boolean;
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
