"""The one exception that means: the input is bad, and here is what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input. The message says what is wrong, where, and what to do; the command line exits with 2."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'X'?)"`` for the known word nearest to `word`, or an empty string."""
    words = list(known)
    match = [w for w in words if w.casefold() == word.casefold()][:1]
    match = match or difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""
