"""Entries of a data.yaml, as pieces of text: only lists, tables and texts, one level deep, are understood.

So no YAML of others is ever run, and a name such as `no` or `1.5` stays what it is.
"""

from __future__ import annotations

import json
import re


def yaml_pieces(text: str, key: str) -> list[str]:
    """What a top-level entry holds: the items of a list, `key: value` of a table, or one text; quotes are kept.

    Args:
        text: The whole file.
        key: Its name; no entry: no pieces.
    """
    match = re.search(rf"^{re.escape(key)}:[ \t]*(.*(?:\n(?:[ \t\-].*|[ \t]*|#.*))*)", text, re.M)
    body = match[1].strip() if match else ""
    if body.startswith(("[", "{")):
        inside = " ".join(re.split(r"[]}](?=\s|$)", body[1:])[0].split())
        pieces = re.findall(r"""((?:[^,'"]|'[^']*'|"[^"]*")+)""", inside)  # a quoted piece may hold commas
        return [piece.strip() for piece in pieces if piece.strip()]
    lines = (_COMMENT.sub(r"\1", line).strip() for line in body.splitlines())
    return [line.removeprefix("-").strip() for line in lines if line]


def yaml_texts(text: str, key: str) -> list[str]:
    """The same without quotes; an entry of `null` or `~` holds nothing."""
    pieces = [unquoted(piece) for piece in yaml_pieces(text, key)]
    return [piece for piece in pieces if piece not in {"", "null", "Null", "NULL", "~"}]


_COMMENT = re.compile(r"""^((?:[^'"]|'[^']*'|"(?:\\.|[^"\\])*")*?)(?:^|\s)#.*$""")


def unquoted(text: str) -> str:
    """A YAML text without its quotes."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            return text[1:-1]
    return text[1:-1].replace("''", "'") if len(text) > 1 and text[0] == text[-1] == "'" else text
