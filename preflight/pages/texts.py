"""The page's own words: every fixed text goes through `t`, so that a translation has one place to look it up.

A text is English with named parameters, such as ``registry {name}``. Templates call ``t("registry {name}", name=…)``;
Python that prepares views makes a `Text`, which templates hand to ``t``. What the run itself says (titles, causes,
remedies, reasons) goes through the filter ``translated``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from markupsafe import Markup, escape

from preflight import language, translation

_CODE = re.compile(r"`([^`]+)`")


class Text(str):
    """A text with its parameters filled in, which still knows what it was made of.

    Attributes:
        english: the text with named parameters.
        values: what stands in their places.
    """

    english: str
    values: Mapping[str, object]
    __slots__ = ("english", "values")

    def __new__(cls, english: str, /, **values: object) -> Self:
        """The English text with its parameters filled in."""
        parts = {name: str(value) for name, value in values.items()}
        filled = super().__new__(cls, translation.rendered(english, parts) if values else english)
        filled.english, filled.values = english, values
        return filled


def t(text: str, /, **values: object) -> Markup:
    """A fixed text as HTML in the page's language, its values escaped; a str that is no `Text` is taken as it is."""
    if isinstance(text, Text):
        return t(text.english, **text.values)
    template = str(escape(language.template(text)))
    parts = {name: str(escape(_word(value))) for name, value in values.items()}
    return Markup(translation.rendered(template, parts) if parts else template)  # noqa: S704 - each part is escaped


def _word(value: object) -> object:
    """What stands in a text: another fixed text, what the run says, or a number."""
    if isinstance(value, Text):
        return t(value)
    return language.translated(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def translated(sentence: str) -> str:
    """What the run says, in the page's language."""
    return language.translated(sentence)


def code(sentence: str) -> Markup:
    """A sentence as HTML, with what stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(sentence))))  # noqa: S704 - escaped before
