import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** Nothing is painted before the script has run, so that a chosen theme never flashes in the other one. */
const paintOnce: Plugin = {
  name: "paint-once",
  transformIndexHtml: {
    order: "post",
    handler: (html) => html.replace('<script type="module"', '<script type="module" blocking="render"'),
  },
};

// The console serves what this writes: index.html for every page, and /assets/ with hashed names that never change.
// Nothing may be inlined, because the content security policy allows neither inline code nor data: addresses.
export default defineConfig({
  plugins: [svelte(), paintOnce],
  build: {
    outDir: "../src/freehold/console/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: ["chrome123", "firefox120", "safari17.5"],
    reportCompressedSize: false,
  },
});
