// What a program does that knows nothing of payments.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "anything" });
const said = (content) => ({ model: "m", messages: [{ role: "user", content }] });
const whole = await client.chat.completions.create(said("hello"));
let stream = "";
for await (const chunk of await client.chat.completions.create({ ...said("a stream"), stream: true })) {
  // As in the package's own examples: the first choice of every chunk.
  stream += chunk.choices[0].delta.content ?? "";
}
const embedding = await client.embeddings.create({ model: "m", input: "e", encoding_format: "float" });
const models = [];
for await (const model of client.models.list()) models.push(model.id);
let refused;
try {
  await client.chat.completions.create({ model: "m", messages: [], n: 2 });
} catch (error) {
  refused = error;
}
console.log(JSON.stringify({
  whole: whole.choices[0].message.content, tokens: whole.usage.total_tokens, stream, models,
  embedding: embedding.data[0].embedding, code: refused.code, status: refused.status,
}));
