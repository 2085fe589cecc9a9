"""Which models are kin, by their names: a judge leans towards answers of its own family."""

import re

_FAMILIES = (
    ("gpt", r"gpt|chatgpt|davinci|o[134](?:-|$)"),
    ("claude", r"claude"),
    ("gemini", r"gemini|gemma"),
    ("llama", r"llama"),
    ("qwen", r"qwen|qwq"),
    ("mistral", r"mistral|mixtral|ministral|magistral|codestral|devstral"),
    ("deepseek", r"deepseek"),
    ("glm", r"glm|zai"),
    ("kimi", r"kimi|moonshot"),
    ("phi", r"phi-?\d"),
    ("command", r"command-|cohere|aya-"),
    ("nova", r"nova-|titan-"),
    ("grok", r"grok"),
    ("granite", r"granite"),
    ("nemotron", r"nemotron"),
    ("minimax", r"minimax"),
)
_COMPILED = tuple((name, re.compile(rf"(?:^|[^a-z])(?:{pattern})")) for name, pattern in _FAMILIES)


def family_of(model: str) -> str:
    """Name a model's family; a name that tells none is a family of its own."""
    text = model.lower()
    return next((name for name, pattern in _COMPILED if pattern.search(text)), text)
