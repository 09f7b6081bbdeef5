// `fragments: "tree"` builds templates with createElement, so that no Trusted Types policy is needed at all.
export default {
  compilerOptions: { runes: true, fragments: "tree" },
};
