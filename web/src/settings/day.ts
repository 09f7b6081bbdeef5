const form = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** A day as the reader's language writes it. `seconds` since 1970. */
export function day(seconds: number): string {
  return form.format(new Date(seconds * 1000));
}
