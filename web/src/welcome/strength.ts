// How hard a password is to guess, roughly: a hint while it is typed. The server decides what it accepts.

export const SHORTEST = 12;

export interface Strength {
  /** 0 nothing yet, 1 too weak to accept, 2 fair, 3 good, 4 strong. */
  level: 0 | 1 | 2 | 3 | 4;
  hint: string;
}

const COMMON = [
  "password",
  "passwort",
  "qwerty",
  "letmein",
  "welcome",
  "freehold",
  "admin",
  "123456",
  "abcdef",
  "iloveyou",
];

/** `known` are words that a guesser has too: the person's name and address. */
export function strength(password: string, known: readonly string[] = []): Strength {
  const length = Array.from(password).length;
  if (length === 0) return { level: 0, hint: `At least ${SHORTEST} characters. A few unrelated words work well.` };
  if (length < SHORTEST) {
    const missing = SHORTEST - length;
    return { level: 1, hint: `${missing} more ${missing === 1 ? "character" : "characters"} needed.` };
  }
  const rest = without(password.toLowerCase(), known);
  const distinct = new Set(rest).size;
  if (distinct < 5) return { level: 1, hint: "Too easy to guess. Use less that repeats or that others know." };
  const bits = rest.length * Math.log2(Math.max(distinct, 2)) * 0.6 + kinds(password) * 3;
  if (bits < 34) return { level: 2, hint: "Fair. Another word would make it much stronger." };
  if (bits < 50) return { level: 3, hint: "Good." };
  return { level: 4, hint: "Strong." };
}

function without(password: string, known: readonly string[]): string {
  const words = known.flatMap((word) => word.toLowerCase().split(/[^\p{L}\p{N}]+/u)).filter((word) => word.length >= 4);
  return [...COMMON, ...words].reduce((rest, word) => rest.replaceAll(word, ""), password);
}

function kinds(password: string): number {
  return [/\p{Ll}/u, /\p{Lu}/u, /\p{N}/u, /[^\p{L}\p{N}]/u].filter((kind) => kind.test(password)).length;
}
