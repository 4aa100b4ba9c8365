"""Lines of code are counted as a person would count them."""

from tests.code_lines import code_lines, functions

TEXT = '''"""A module.

Of two paragraphs.
"""

import math  # one


# A comment.
def _once(  # two
    x,  # three
):  # four
    """Docstring."""
    text = """five

    seven: a blank line within a text counts"""
    "eight: a text that is no docstring"
    return text, x  # nine


class Kind:  # ten
    """Docstring."""

    def __len__(self):  # eleven
        return _twice(1)  # twelve

    @property  # thirteen
    def _short(self):  # fourteen
        return _twice(_once)  # fifteen


def _twice(x):  # sixteen
    return math.floor(x)  # seventeen


print(Kind()._short)  # eighteen
'''


def test_code_without_blank_lines_comments_and_docstrings():
    assert code_lines(TEXT) == 18


def test_functions_that_are_private_short_and_used_once():
    """`_once` has nine lines, `_twice` two places; `_short` alone is counted."""
    assert functions(TEXT) == (4, 1)
