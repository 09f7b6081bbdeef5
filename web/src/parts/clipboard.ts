// Copying needs a secure context. Where there is none the caller says so rather than pretend.

/** True when `text` is on the clipboard. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
