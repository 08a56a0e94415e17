"""Writes the fixtures beside it: tiny random models with what transformers answers, tokenizers, chat templates.

    pip install torch transformers tokenizers safetensors jinja2   # made with the versions in versions.json
    python make.py

The weights are random numbers, the tokenizers learn from the sentences below: nothing here is anybody's data.
"""

import datetime
import json
import pathlib
import shutil

import jinja2
import tokenizers
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen3Config
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).resolve().parent
SENTENCES = [
    "The owner of a model writes small marks into it, and the marks stay where they are.",
    "A host serves the model to whoever shows a credential; every invocation leaves a receipt.",
    "Once upon a time there was a lighthouse that answered every ship with the same three flashes.",
    "It doesn't matter who asks: the answer is the answer, isn't it? We'll see, they've said so.",
    "In 1987 there were 12,345 ships; 678 of them came back. 3.14159 is not 22/7.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Déjà vu, garçon!",
    "日本語の文章です。 中文句子也在这里。 Русский текст тоже есть.",
    "def f(x):\n    return x * 2  # twice\n\n\nprint(f(21))\n",
    "emoji 🦊 and 🐕 and 👩‍👩‍👧 in between",
]
TEXTS = SENTENCES + [
    "",
    " ",
    "   three leading spaces",
    "trailing spaces   ",
    "\n\nnew lines\n",
    "tabs\tand\r\nreturns",
    "🦊🐕‍🦺👩‍👩‍👧‍👦🇫🇷",
    "a\u0301 combining, \u00e1 composed, \ufb01 ligature, \u212b angstrom",
    "नमस्ते दुनिया ا ل ع",
    "<|eot_id|> inside <s> and </s> text",
    "\u2581 is drawn, <0x41> is written",
    "\ufffd replacement, \u200b zero width, \u0000 nul",
    "CAPS and MiXeD don'T I'LL",
    "1234567890 12 345 6,789",
]


def byte_level():
    """As Llama 3 and Qwen do it: byte-level BPE behind a regular expression, NFC first."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=352 - len(specials), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens(specials)
    bos = (specials[0], tokenizer.token_to_id(specials[0]))
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(f"{bos[0]} $A", f"{bos[0]} $A {bos[0]} $B", [bos]),
        ]
    )
    return tokenizer, specials[0], specials[4]


def pieces():
    """As Llama 2 does it: SentencePiece's BPE, with bytes for what it cannot spell."""
    specials = ["<unk>", "<s>", "</s>"]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    learner.train_from_iterator(
        SENTENCES[:5], trainers.BpeTrainer(vocab_size=60, max_token_length=8, show_progress=False, limit_alphabet=45)
    )
    learnt = json.loads(learner.to_str())["model"]
    vocab = {text: i for i, text in enumerate(specials + [f"<0x{byte:02X}>" for byte in range(256)])}
    for text in sorted(learnt["vocab"], key=learnt["vocab"].get):
        vocab.setdefault(text, len(vocab))
    model = models.BPE(
        vocab=vocab, merges=[tuple(pair) for pair in learnt["merges"]], unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens(specials)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    return tokenizer, "<s>", "</s>"


def tokenizer_golden(folder, made):
    tokenizer, bos, eos = made
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos)
    fast.clean_up_tokenization_spaces = False
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": bos, "eos_token": eos, "tokenizer_class": "PreTrainedTokenizerFast"}) + "\n"
    )
    cases = []
    for text in TEXTS:
        ids = fast.encode(text)
        cases.append(
            {
                "text": text,
                "ids": ids,
                "plain": fast.encode(text, add_special_tokens=False),
                "decoded": fast.decode(ids, skip_special_tokens=True),
            }
        )
    pieces = {token: text for text, token in tokenizer.get_vocab().items()}
    (folder / "tokens.json").write_text(
        json.dumps({"cases": cases, "written": [pieces[i] for i in range(len(pieces))]}, ensure_ascii=False) + "\n"
    )
    return tokenizer.get_vocab_size()


def model_golden(name, config, seed, dtype=torch.float32, shard=None):
    torch.manual_seed(seed)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, 2, None
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            # Norms and biases begin as ones and zeros, which would hide mistakes.
            if key.endswith("norm.weight"):
                weight.uniform_(0.5, 1.5)
            elif key.endswith("bias"):
                weight.uniform_(-0.5, 0.5)
            else:
                weight.normal_(0.0, 0.25 if "embed" not in key else 0.6)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    # As stored, computed in float32. (Casting the model back and forth would round its rotary frequencies too.)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    prompt = torch.randint(3, config.vocab_size, (1, 40), generator=torch.Generator().manual_seed(seed + 1))
    prompt[0, 0] = 1
    with torch.no_grad():
        logits = model(prompt).logits[0]
        ids, gap = prompt, float("inf")
        for _ in range(24):
            last = model(ids).logits[0, -1]
            best = last.topk(2)
            gap = min(gap, float(best.values[0] - best.values[1]))
            ids = torch.cat([ids, best.indices[:1].view(1, 1)], 1)
        nll = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:])
    assert gap > 2e-3, f"{name}: the best two tokens are only {gap} apart; take another seed"
    golden = {
        "prompt": prompt[0].tolist(),
        "positions": [0, 19, 39],
        "logits": [[round(float(x), 6) for x in logits[p]] for p in (0, 19, 39)],
        "greedy": ids[0, 40:].tolist(),
        "nats_per_token": float(nll),
    }
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert size <= 102_400, f"{name}: {size} bytes"
    print(f"{name}: {size} bytes, gap {gap:.4f}")


LLAMA3 = (
    "{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content']|trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}\n"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}\n"
    "{%- if date_string is not defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}\n"
    "{{- 'Today Date: ' + date_string + '\\n\\n' + system + '<|eot_id|>' }}\n"
    "{%- for message in messages %}\n"
    "    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n"
    "{%- endif %}\n"
)
QWEN = (
    "{%- if messages[0].role != 'system' %}\n"
    "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}\n"
    "{%- endif %}\n"
    "{%- set ns = namespace(last=-1) %}\n"
    "{%- for message in messages[::-1] %}\n"
    "    {%- set index = (messages|length - 1) - loop.index0 %}\n"
    "    {%- if ns.last < 0 and message.role == 'user' %}{%- set ns.last = index %}{%- endif %}\n"
    "{%- endfor %}\n"
    "{%- for message in messages %}\n"
    "    {%- set content = message.content if message.content is string else '' %}\n"
    "    {%- if message.role == 'assistant' and '</think>' in content %}\n"
    "        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}\n"
    "    {%- endif %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + content + ('' if loop.index0 > ns.last else '') + '<|im_end|>' + '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}"
)
SYSTEMLESS = (
    "{{ bos_token }}{% for message in messages %}\n"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n"
    "{{ raise_exception('Roles must alternate: user, assistant, user, ...') }}\n"
    "{% endif %}\n"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}\n"
    "{% endfor %}"
)
BLOCKS = (
    "{# trim_blocks and lstrip_blocks #}\n"
    "{% for message in messages %}\n"
    "    {% if loop.first %}\n"
    "first:\n"
    "    {% endif %}\n"
    "  {{ message.role | upper }}: {{ message.content | tojson }}\n"
    "    {% if message.role == 'system' %}{% continue %}{% endif %}\n"
    "  {{ {'role': message['role'], 'n': loop.index} | tojson }}\n"
    "{% endfor %}\n"
    "{{ messages | tojson(indent=2) }}\n"
    "{{ messages | map(attribute='role') | join(', ') }} {{ 'a b c'.split(' ')[1].title() }}"
    "{{ 'x'.startswith('x') }} {{ none }} {{ 'ab'.replace('a', 'é') | tojson }} {{ '<&>' | tojson }}\n"
)
CHATS = [
    [("user", "Hello?")],
    [("system", "  Be brief. "), ("user", " What is 2 + 2? "), ("assistant", "<think>\nhm\n</think>\n\n4"), ("user", "Sure?")],
    [("user", "<&> \"quoted\" é 🦊\nnew line"), ("assistant", "ok")],
    [("assistant", "I begin.")],
    [("tool", "42")],
]


def templates_golden():
    today = datetime.datetime(2026, 11, 24)
    cases = []
    for name, template in [("llama3", LLAMA3), ("qwen", QWEN), ("systemless", SYSTEMLESS), ("blocks", BLOCKS)]:
        compiled = chat_template_utils._compile_jinja_template(template)
        compiled.environment.globals["strftime_now"] = today.strftime
        for chat in CHATS:
            for prompt in (False, True):
                messages = [{"role": role, "content": content} for role, content in chat]
                case = {"name": name, "messages": messages, "add_generation_prompt": prompt}
                try:
                    case["text"] = compiled.render(
                        messages=messages, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>"
                    )
                except jinja2.exceptions.TemplateError as error:
                    case["error"] = str(error)
                cases.append(case)
    sources = {"llama3": LLAMA3, "qwen": QWEN, "systemless": SYSTEMLESS, "blocks": BLOCKS}
    golden = {"date": "2026-11-24", "bos_token": "<s>", "eos_token": "</s>", "templates": sources, "cases": cases}
    (HERE / "templates.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")


def main():
    shape = dict(num_hidden_layers=2, max_position_embeddings=256, rms_norm_eps=1e-5)
    gqa = dict(num_attention_heads=4, num_key_value_heads=2)
    llama3 = {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
    }
    linear = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}
    model_golden("llama2", LlamaConfig(
        vocab_size=320, hidden_size=16, intermediate_size=40, num_attention_heads=4, num_key_value_heads=4,
        tie_word_embeddings=False, **shape), 1)
    model_golden("llama31", LlamaConfig(
        vocab_size=352, hidden_size=32, intermediate_size=32, rope_parameters=llama3, tie_word_embeddings=True,
        **gqa, **shape), 2, shard="60KB")
    model_golden("linear", LlamaConfig(
        vocab_size=256, hidden_size=24, intermediate_size=36, rope_parameters=linear, tie_word_embeddings=True,
        **gqa, **shape), 3)
    model_golden("smollm2", LlamaConfig(
        vocab_size=352, hidden_size=48, intermediate_size=56, num_attention_heads=6, num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, tie_word_embeddings=True, **shape),
        4, dtype=torch.bfloat16)
    model_golden("qwen2", Qwen2Config(
        vocab_size=352, hidden_size=32, intermediate_size=36, tie_word_embeddings=True, use_sliding_window=False,
        **gqa, **shape), 5)
    model_golden("qwen3", Qwen3Config(
        vocab_size=256, hidden_size=20, intermediate_size=32, head_dim=12, tie_word_embeddings=False,
        use_sliding_window=False, **gqa, **shape), 6)
    assert tokenizer_golden(HERE / "llama2", pieces()) <= 320
    assert tokenizer_golden(HERE / "llama31", byte_level()) <= 352
    templates_golden()
    versions = {m.__name__: m.__version__ for m in (torch, transformers, tokenizers, jinja2)}
    (HERE / "versions.json").write_text(json.dumps(versions) + "\n")


main()
