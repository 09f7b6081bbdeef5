// The styles come first, so that a component's own rules win over the shared ones.
import "./styles/tokens.css";
import "./styles/base.css";
import { mount } from "svelte";
import App from "./App.svelte";
import { listen } from "./router.svelte";
import { theme } from "./theme.svelte";

theme.apply();
listen();
const target = document.getElementById("app");
if (target) mount(App, { target });
