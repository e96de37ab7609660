"""What a mask decoder can do beyond the common is asked of it by `isinstance`, whose rule changed with Python 3.12."""

from __future__ import annotations

import inspect

import pytest
import torch

from seglm.model.build import build
from seglm.model.decoders.base import Decoder, Remembers, TakesBoxes, TakesPoints
from seglm.model.recipes import recipe as named

CAN = {
    "lisa_tiny": {TakesBoxes, TakesPoints},
    "keyseg_tiny": {TakesBoxes, TakesPoints},
    "glus_tiny": {Remembers, TakesBoxes, TakesPoints},
    "desa2va_tiny": {Remembers, TakesBoxes, TakesPoints},
}


def members(protocol: type) -> set[str]:
    """What `isinstance` looks for."""
    of = [base for base in protocol.__mro__ if getattr(base, "_is_protocol", False)]
    return {
        name
        for base in of
        for name in {*vars(base), *inspect.get_annotations(base)}
        if not name.startswith("_") and base.__module__ != "typing"
    }


@pytest.mark.parametrize("name", CAN)
def test_a_decoder_can_what_it_can_in_every_python(name: str) -> None:
    decoder = build(named(name)).model.decoder
    assert {"encode", "decode", "image_size"} <= members(Decoder)
    for protocol in (Remembers, TakesBoxes, TakesPoints):
        assert isinstance(decoder, protocol) == (protocol in CAN[name])
        if protocol in CAN[name]:
            # As Python 3.12 and newer look: without `__getattr__`, by which a module finds its submodules.
            for member in members(protocol):
                inspect.getattr_static(decoder, member)


def test_a_submodule_is_not_found_statically() -> None:
    module = torch.nn.Sequential()
    module.inner = torch.nn.Identity()
    with pytest.raises(AttributeError):
        inspect.getattr_static(module, "inner")
