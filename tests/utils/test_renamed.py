"""A name that a library changed is found by what is there, whichever release it is."""

from __future__ import annotations

import re

import pytest
from transformers import LlamaModel

from seglm.model.backbones.projected import CACHE
from seglm.utils.renamed import argument_of, method_of


def _before_5_24(input_ids: object = None, past_key_values: object = None, use_cache: bool = False) -> None:
    """The signature of LlamaModel.forward in transformers 5.20."""


def _from_5_40(input_ids: object = None, cache: object = None, use_cache: bool = False) -> None:
    """The same once the old name is gone."""


def _of_another_library(input_ids: object = None, memory: object = None) -> None: ...


@pytest.mark.parametrize(
    ("forward", "name"),
    [(_before_5_24, "past_key_values"), (_from_5_40, "cache"), (LlamaModel.forward, None)],
)
def test_the_cache_is_given_by_the_newest_name_that_forward_takes(forward: object, name: str | None) -> None:
    found = argument_of(forward, *CACHE)  # type: ignore[arg-type]
    assert found == name if name else found in CACHE


def test_a_release_with_neither_name_is_refused_with_what_it_has() -> None:
    with pytest.raises(
        ImportError, match=r"called cache or past_key_values; it has input_ids, memory; .*requirements\.txt"
    ):
        argument_of(_of_another_library, *CACHE)


def test_a_method_is_taken_by_its_newest_name() -> None:
    assert method_of("a", "casefold", "lower") == "a".casefold
    assert method_of("a", "removed_in_7", "lower")() == "a"
    with pytest.raises(ImportError, match=re.escape("no method of str is called nothing or none")):
        method_of("a", "nothing", "none")
