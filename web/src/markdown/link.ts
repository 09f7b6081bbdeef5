// Where a link in a message leads, if anywhere: an address with a scheme that a person can judge before going there.

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
const LONGEST = 2048;

/** The normalised address and the part of it that names the place, or null for everything that is not a plain link. */
export function place(address: string): { target: string; place: string } | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused here
  if (address.length > LONGEST || /[\u0000-\u0020\u007f-\u00a0]/.test(address)) return null;
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return null;
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (!SCHEMES.has(url.protocol) || url.username || url.password) return null;
  const shown = url.protocol === "mailto:" ? url.pathname : url.host;
  return shown ? { target: url.href, place: shown } : null;
}
