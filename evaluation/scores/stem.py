"""Stems of English words by M. F. Porter's algorithm (An algorithm for suffix stripping, Program 14(3), 1980), in its five steps.

A word is [C](VC){m}[V] in runs of consonants C and vowels V; m is its measure. A step takes the longest ending that fits and puts
another in its place if what stands before it is as the step wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

Condition = Callable[[str], bool]
SHORTEST = 3  # letters; shorter words are left alone

SECOND: Mapping[str, str] = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "abli": "able", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
}  # fmt: skip
THIRD: Mapping[str, str] = {
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": "",
}  # fmt: skip
FOURTH = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti", "ous",
    "ive", "ize",
)  # fmt: skip


@lru_cache(1 << 16)
def stem(word: str) -> str:
    """The stem of a word in lower case; one with a sign that is no letter stays."""
    if len(word) < SHORTEST or not (word.isascii() and word.isalpha()):
        return word
    word = _plurals(word)
    word = _past(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = f"{word[:-1]}i"
    word = _longest(word, SECOND, lambda rest: measure(rest) > 0)
    word = _longest(word, THIRD, lambda rest: measure(rest) > 0)
    word = _longest(word, dict.fromkeys(FOURTH, ""), lambda rest: measure(rest) > 1)
    if word.endswith("e") and (
        measure(word[:-1]) > 1 or (measure(word[:-1]) == 1 and not _is_short(word[:-1]))
    ):
        word = word[:-1]
    return word[:-1] if word.endswith("ll") and measure(word) > 1 else word


def measure(word: str) -> int:
    """How often a run of vowels is followed by one of consonants."""
    kinds = [_is_consonant(word, place) for place in range(len(word))]
    return sum(kinds[place] and not kinds[place - 1] for place in range(1, len(kinds)))


def _plurals(word: str) -> str:
    for ending, other in (("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")):
        if word.endswith(ending):
            return word.removesuffix(ending) + other
    return word


def _past(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and _has_vowel(rest):
            if rest.endswith(("at", "bl", "iz")):
                return f"{rest}e"
            if _is_doubled(rest) and not rest.endswith(("l", "s", "z")):
                return rest[:-1]
            return f"{rest}e" if measure(rest) == 1 and _is_short(rest) else rest
    return word


def _longest(word: str, endings: Mapping[str, str], fits: Condition) -> str:
    """The word with its longest ending of these changed, if what stands before it fits."""
    found = [ending for ending in endings if word.endswith(ending)]
    if not found:
        return word
    ending = max(found, key=len)
    rest = word.removesuffix(ending)
    if not fits(rest) or (ending == "ion" and not rest.endswith(("s", "t"))):
        return word
    return rest + endings[ending]


def _is_consonant(word: str, place: int) -> bool:
    """`y` is one at the beginning and behind a vowel."""
    if word[place] == "y":
        return place == 0 or not _is_consonant(word, place - 1)
    return word[place] not in "aeiou"


def _has_vowel(word: str) -> bool:
    return not all(_is_consonant(word, place) for place in range(len(word)))


def _is_doubled(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _is_consonant(word, len(word) - 1)


def _is_short(word: str) -> bool:
    """Whether it ends in consonant, vowel, consonant, the last of which is not w, x or y."""
    if len(word) < 3 or word[-1] in "wxy":
        return False
    return [_is_consonant(word, len(word) + place) for place in (-3, -2, -1)] == [True, False, True]
