// Which page is shown. Five addresses do not need a router library.

class Router {
  path = $state(location.pathname);
}

export const router = new Router();

/** Show `path`, as a new entry of the history or in place of the present one. */
export function go(path: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", path);
  else if (path !== location.pathname) history.pushState(null, "", path);
  router.path = path;
}

/** Follow the browser's back and forward, and plain clicks on our own links. Call once. */
export function listen(): void {
  addEventListener("popstate", () => {
    router.path = location.pathname;
  });
  addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || link.target || link.origin !== location.origin || event.defaultPrevented) return;
    if (link.hash && link.pathname === location.pathname) return;
    event.preventDefault();
    go(link.pathname);
  });
}
