// How to call this address, in the three forms that people start from.

export interface Snippet {
  name: string;
  language: string;
  code: string;
}

export const KEY_PLACEHOLDER = "fh_YOUR_KEY";

/** `origin` is this page's; `model` an assistant's id, or a placeholder for those who are not signed in. */
export function snippets(origin: string, model: string): Snippet[] {
  return [
    {
      name: "curl",
      language: "shell",
      code: `curl ${origin}/v1/chat/completions \\
  -H "Authorization: Bearer ${KEY_PLACEHOLDER}" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "${model}",
       "messages": [{"role": "user", "content": "Hello"}]}'`,
    },
    {
      name: "Python",
      language: "python",
      code: `from openai import OpenAI

client = OpenAI(
    base_url="${origin}/v1",
    api_key="${KEY_PLACEHOLDER}",
)
answer = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)`,
    },
    {
      name: "TypeScript",
      language: "typescript",
      code: `import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "${origin}/v1",
  apiKey: "${KEY_PLACEHOLDER}",
});
const answer = await client.chat.completions.create({
  model: "${model}",
  messages: [{ role: "user", content: "Hello" }],
});
console.log(answer.choices[0].message.content);`,
    },
  ];
}
