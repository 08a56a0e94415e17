"""What a program does that knows nothing of payments."""
import json
import sys

from openai import OpenAI, BadRequestError

client = OpenAI(base_url=sys.argv[1], api_key="anything")
message = [{"role": "user", "content": "hello"}]
whole = client.chat.completions.create(model="m", messages=message)
stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "a stream"}], stream=True)
# As in the package's own examples: the first choice of every chunk.
text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
embedding = client.embeddings.create(model="m", input="e", encoding_format="float")
try:
    client.chat.completions.create(model="m", messages=[], n=2)
except BadRequestError as error:
    code, status = error.code, error.status_code
print(json.dumps({
    "whole": whole.choices[0].message.content, "tokens": whole.usage.total_tokens, "stream": text,
    "models": [model.id for model in client.models.list()], "embedding": embedding.data[0].embedding,
    "code": code, "status": status,
}))
