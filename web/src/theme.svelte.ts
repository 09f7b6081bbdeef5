// Light, dark, or what the system says. Kept in this browser only.

export type Choice = "system" | "light" | "dark";

const KEY = "freehold.theme";

class Theme {
  choice = $state<Choice>(remembered());

  choose(choice: Choice): void {
    this.choice = choice;
    try {
      if (choice === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // The browser keeps nothing for this address: the choice lasts as long as the page.
    }
    this.apply();
  }

  apply(): void {
    if (this.choice === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.choice;
  }
}

function remembered(): Choice {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}

export const theme = new Theme();
