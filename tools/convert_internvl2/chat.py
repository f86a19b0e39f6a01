"""What the published `chat()` writes around a question, as a chat template."""

import ast
import json
from dataclasses import dataclass
from pathlib import Path

from makd.errors import UserError

SYSTEM_MESSAGE = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
)
"""Of internlm2-chat and Hermes-2 in OpenGVLab/InternVL, internvl_chat/internvl/conversation.py, as of InternVL2."""

CONTEXT = "<IMG_CONTEXT>"
"""Written once for an image; the processor puts <img>, a token per patch and tile, and </img> in its place."""


@dataclass(frozen=True)
class Talk:
    """A conversation in the separator style MPT: each turn is role, text, separator, with nothing in between."""

    system_template: str = "<|im_start|>system\n{system_message}"
    system_message: str = SYSTEM_MESSAGE
    user: str = "<|im_start|>user\n"
    assistant: str = "<|im_start|>assistant\n"
    separator: str = "<|im_end|>"


KNOWN = {"internlm2-chat": Talk(), "Hermes-2": Talk()}


def conversation(source: Path, name: str) -> Talk:
    """The conversation `name` of the source's conversation.py, which is parsed and not run; else the known one.

    Raises:
        UserError: no such conversation, or one of another style.
    """
    file = source / "conversation.py"
    if file.is_file():
        return parse(file, name)
    if name not in KNOWN:
        raise UserError(f"{file} is missing, and the template {name!r} is not known without it; download it")
    return KNOWN[name]


def parse(file: Path, name: str) -> Talk:
    for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        fields = {keyword.arg: keyword.value for keyword in call.keywords}
        if "system_template" not in fields or literal(fields.get("name")) != name:
            continue
        style = fields.get("sep_style")
        if not isinstance(style, ast.Attribute) or style.attr != "MPT":
            raise UserError(f"{file}: the template {name!r} has another separator style than MPT; not supported")
        texts = [literal(fields.get(field)) for field in ("system_template", "system_message", "sep")]
        roles = literal(fields.get("roles"))
        words = [word for word in (*texts, *(roles if isinstance(roles, tuple) else ())) if isinstance(word, str)]
        if len(words) != 5 or words[0].count("{system_message}") != 1:
            raise UserError(f"{file}: the template {name!r} is not written in plain strings; is the file as published?")
        template, message, separator, user, assistant = words
        return Talk(template, message, user, assistant, separator)
    raise UserError(f"{file} has no template {name!r}, which config.json names; is the file as published?")


def literal(node: ast.expr | None) -> object:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def chat_template(talk: Talk) -> str:
    """A turn is role, text and separator, an image is a line before its text; a system turn replaces the default."""
    before, after = talk.system_template.split("{system_message}")
    words = {"before": before, "after": after + talk.separator, "default": talk.system_message}
    words |= {"user": talk.user, "assistant": talk.assistant, "separator": talk.separator, "image": CONTEXT + "\n"}
    quoted = "".join(f"{{%- set {name} = {json.dumps(text, ensure_ascii=False)} -%}}\n" for name, text in words.items())
    return quoted + TEMPLATE


TEMPLATE = """\
{%- macro write(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- else -%}
        {%- for part in content -%}
            {{- image if part['type'] == 'image' else part['text'] -}}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- set system = messages | selectattr('role', 'equalto', 'system') | list -%}
{{- before + (write(system[0]['content']) if system else default) + after -}}
{%- for message in messages if message['role'] != 'system' -%}
    {{- (user if message['role'] == 'user' else assistant) + write(message['content']) + separator -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- assistant -}}
{%- endif -%}
"""
