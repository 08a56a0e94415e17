"""Serves seven prompts with the real Python framework; `capture.py` records its bytes."""
import sys
from sentient_agent_framework import AbstractAgent, DefaultServer


class Golden(AbstractAgent):
    async def assist(self, session, query, out):
        name, _, rest = query.prompt.partition(" ")
        if name == "stream":
            stream = out.create_text_stream("FINAL_RESPONSE")
            for word in ["Hel", "lo", "", " wor", "ld"]:
                await stream.emit_chunk(word)
            await stream.complete()
            await out.complete()
        elif name == "respond":
            await out.respond("ANSWER", "whole")
        elif name == "json":
            await out.emit_json("SOURCES", {"results": [{"title": "é \u2028 \U0001F600", "n": 3, "x": 1.0, "y": 1e22, "z": -0.0,
                                             "big": 123456789012345678901234567890, "none": None, "nan": float("nan")}], "slash": "a/b\\\"\b\f\n\r\t\u001f\u007f"})
            await out.emit_text_block("PLAN", "first\nsecond")
            await out.complete()
        elif name == "error":
            await out.emit_error("nope", 429, {"retry_after": 3})
            await out.emit_error("plain")
            await out.complete()
        elif name == "unicode":
            await out.respond("ANSWER", "a\u0085b\u2028c\u2029d <&> é 漢 \U0001F600 \u0000\u001b\u007f")
        elif name == "name":
            await out.emit_text_block("BAD\nevent: done", "x")
            await out.complete()
        elif name == "unclosed":
            first, second = out.create_text_stream("FINAL_RESPONSE"), out.create_text_stream("THINKING")
            await second.emit_chunk("b")
            await first.emit_chunk("a")
            await out.complete()
        elif name == "history":
            seen = [[r.event.content for r in i.responses if hasattr(r.event, "content")] for i in session.get_interactions()]
            await out.emit_json("HISTORY", {"seen": seen})
            await out.complete()
        elif name == "count":
            stream = out.create_text_stream("FINAL_RESPONSE")
            for index in range(int(rest)):
                await stream.emit_chunk(f"{index} ")
            await stream.complete()
            await out.complete()
        elif name == "raise":
            raise RuntimeError("secret detail")


DefaultServer(Golden("golden")).run("127.0.0.1", int(sys.argv[1]))
