"""From a dialogue to token ids, labels and the places of its slots, all three in one pass.

Nothing is searched for afterwards and nothing is tokenised twice: each text between two images is tokenised once, with the
character span of every token, and a token is trained, or is a slot's own, because its characters are. So an image may
expand to any number of positions, and a literal "[SEG]" that a user types is no slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seglm.model.backbones.templates import Template, Written
from seglm.model.backbones.tokenizer import token_ids
from seglm.utils.tiles import images_in, views
from seglm.utils.types import (
    IGNORE_LABEL,
    IMAGE_POSITION,
    PLAIN,
    Branch,
    Dialogue,
    Images,
    Look,
    Piece,
    Placed,
    Pointed,
    Script,
    Slot,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_TEXT = -1  # frame and patch of a position that holds text
KEPT_TEXTS = 64  # untrained texts whose tokens are remembered: the system prompt and the like
DOT = (1, 1)  # (H, W) of a picture that no tower cuts
_OPENERS = "([{<\"'\u201c\u2018"  # characters that a following token stands close to


class DialogueEncoder:
    """Encodes dialogues for one language model. Holds no weights; goes to loader workers by pickle."""

    def __init__(
        self,
        *,
        tokenizer: PreTrainedTokenizerFast,
        template: Template,
        patches: int,
        image_tokens: tuple[str, str] | None,
        tokens: tuple[str, ...],
        max_length: int,
        found: int | None = None,
        look: Look = PLAIN,
        side: int = 0,
    ) -> None:
        """patches: visual tokens of a frame shown in full; image_tokens: written around every frame; tokens: those a
        slot may have; max_length: longest complete dialogue, in tokens with one image expanded; found: how many tokens the
        files of the tokenizer hold, behind which a recipe adds its own (None: all); look, side: into how many squares of what
        side a picture is cut that is shown finely.

        Raises ValueError if a token is not one id of its own in the tokenizer, or if neither the end of the template's answers
        nor the tokenizer's own end is.
        """
        self.tokenizer = tokenizer
        self.template = template
        self.patches = patches
        self.image_tokens = image_tokens
        self.tokens = tokens
        self.found = len(tokenizer) if found is None else found
        self.max_length = max_length
        self.look, self.side = look, side
        self.ids = token_ids(tokenizer, (*tokens, *(image_tokens or ())))
        self.bos = _control(tokenizer.bos_token_id, "BOS") if template.bos else None
        end = tokenizer.get_vocab().get(template.end)
        self.end_is_text = end is None and tokenizer.eos_token_id is not None
        self.eos = (
            _control(tokenizer.eos_token_id, "EOS")
            if self.end_is_text
            else token_ids(tokenizer, (template.end,))[template.end]
        )
        known = tokenizer.get_vocab()
        self._stops = {self.eos, *(known[stop] for stop in template.stops if stop in known)}
        # A tokenizer of bytes writes every space itself, also beside an added token.
        self._is_exact = type(tokenizer.backend_tokenizer.decoder).__name__ == "ByteLevel"
        # Only fills the rest of a row; `Batch.group` says what is padding, never this id.
        self._kept: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}
        self.pad = _control(tokenizer.pad_token_id, "padding")

    def token_id(self, token: str) -> int:
        """The id of an added token. Raises ValueError that lists the added tokens."""
        if token not in self.ids:
            raise ValueError(f"{token!r} is not a token of this model; it has {sorted(self.ids)}")
        return self.ids[token]

    def encode(
        self, dialogue: Dialogue, *, open: bool = False, key: str = "", counts: Sequence[int] | None = None
    ) -> Branch:
        """One dialogue as ids, labels and placed slots.

        open: the last answer is () and the ids end where generation begins; such a dialogue is never cut.
        key: names the sample in errors. counts: squares of each frame of the clip (`utils/tiles.py`); None: one of each.
        A complete dialogue longer than `max_length` loses tokens at its right end, as in LISA (train: model_max_length
        text tokens less those the image adds) and VideoLISA, whose limit is on text and takes one image for granted, too.
        Raises ValueError naming the sample if a slot, an image or every trained token would be cut off, or if a slot
        has no token of its own in the text.
        """
        try:
            draft = self._draft(self.template.render(dialogue, open=open), counts)
        except ValueError as error:
            raise ValueError(f"{key or 'dialogue'}: {error}") from error
        branch = draft.branch()
        asked = sum(
            isinstance(piece, Slot) for turn in dialogue.turns for piece in (*turn.question, *turn.answer)
        )
        if len(branch.slots) != asked:
            raise ValueError(
                f"{key or 'dialogue'}: {asked} slots in the dialogue but {len(branch.slots)} placed"
            )
        return branch if open else self._cut(branch, key)

    def encode_script(self, script: Script, *, key: str, size: tuple[int, int] = DOT) -> tuple[Branch, ...]:
        """All dialogues about one clip; one whose last answer is missing is encoded open.

        size: (H, W) of its frames, original pixels, by which those are cut that are shown finely.
        """
        seen = 1 + max((frame for images in images_in(script) for frame in images.frames), default=-1)
        counts = views(script, seen, size, look=self.look, side=self.side)
        return tuple(
            self.encode(
                dialogue,
                open=not dialogue.turns[-1].answer,
                key=f"{key}, dialogue {number + 1} of {len(script)}",
                counts=counts,
            )
            for number, dialogue in enumerate(script)
        )

    def length(self, branch: Branch) -> int:
        """What `max_length` limits: the tokens of a dialogue, those of one image among them, however many it shows."""
        visual = int((branch.frame != _TEXT).sum())
        return len(branch.ids) - max(0, visual - self.patches)

    def rendered(self, dialogue: Dialogue) -> str:
        """The dialogue as it is written before it becomes ids; `<image>` for every frame."""
        written = self.template.render(dialogue, open=not dialogue.turns[-1].answer)
        return "".join(self._spelled(one.piece) for one in written)

    def _spelled(self, piece: Piece) -> str:
        if isinstance(piece, Images):
            before, after = self.image_tokens or ("", "")
            return f"{before}<image>{after}" * len(piece.frames)
        if isinstance(piece, Pointed):
            return "<region>"
        return piece.token if isinstance(piece, Slot) else piece

    def is_over(self, ids: Sequence[int]) -> bool:
        """Whether an answer has ended with the last of these ids."""
        if not self.end_is_text or ids[-1] in self._stops:
            return ids[-1] in self._stops
        # as Sa2VA looks for its stop words; no token is empty, so the end is in as many of the last as it has characters
        last = self._say(list(ids[-len(self.template.end) :]))
        return last.replace("\n", "").endswith(self.template.end)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids: slots and other added tokens visible, images and a last end token left out.

        Whitespace that the tokenizer swallowed around an added token is put back as one space where prose has one.
        """
        shown = [int(number) for number in ids if number != IMAGE_POSITION]
        if shown and shown[-1] in self._stops:
            shown.pop()
        if self._is_exact:
            said = self._say(shown)
            return said.rstrip("\n").removesuffix(self.template.end) if self.end_is_text else said
        added = self.tokenizer.added_tokens_decoder
        text, run = "", list[int]()
        for number in shown:
            if number in added:
                text = _join(text, self._say(run), is_token=False)
                text = _join(text, added[number].content, is_token=True)
                run = []
            else:
                run.append(number)
        return _join(text, self._say(run), is_token=False)

    def spoken(self, text: str, *, keep: bool) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of a text and the characters of each. keep: remember them, for what begins every dialogue."""
        if text in self._kept:
            return self._kept[text]
        # The backend itself: the wrapper goes through batches, whose threads make a forked loader worker complain.
        encoding = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        if keep and len(self._kept) < KEPT_TEXTS:
            self._kept[text] = (encoding.ids, encoding.offsets)
        return encoding.ids, encoding.offsets

    def _say(self, ids: list[int]) -> str:
        return str(self.tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False)) if ids else ""

    def _draft(self, written: tuple[Written, ...], counts: Sequence[int] | None) -> _Draft:
        draft = _Draft(self)
        if self.bos is not None:
            draft.add_ids([self.bos], frame=_TEXT)
        for one in written:
            if one.begins:
                draft.flush()
            if isinstance(one.piece, Images):
                self._show(draft, one.piece, counts)
            elif isinstance(one.piece, Pointed):
                draft.flush()
                patches = self._under(one.piece.mask)
                last = sum(counts[: one.piece.frame + 1]) - 1 if counts else one.piece.frame
                draft.add_ids([IMAGE_POSITION] * len(patches), frame=last, patches=patches)
            elif isinstance(one.piece, Slot):
                draft.write(one.piece.token, trained=one.trained, slot=one.piece)
            else:
                draft.write(one.piece, trained=one.trained)
        draft.flush()
        return draft

    def _show(self, draft: _Draft, images: Images, counts: Sequence[int] | None) -> None:
        """Every frame between the image tokens; the texts before and after it are tokenised apart, as in LISA."""
        before, after = self.image_tokens or ("", "")
        is_pooled = images.fidelity == "pooled"
        # A pooled frame is one position; patch P is the mean of the frame's P patches.
        patches = range(self.patches, self.patches + 1) if is_pooled else range(self.patches)
        for frame in images.frames:
            draft.write(before, trained=False)
            draft.flush()
            count = counts[frame] if counts else 1
            end = sum(counts[: frame + 1]) if counts else frame + 1
            # The last of a frame's squares is the whole of it.
            for square in range(end - (count if images.fidelity == "fine" else 1), end):
                draft.add_ids([IMAGE_POSITION] * len(patches), frame=square, patches=patches)
            draft.write(after, trained=False)

    def _under(self, mask: NDArray[np.bool_]) -> list[int]:
        """Patches of the whole frame under a mask bool [H, W]: those whose first pixel it holds; else the one of its middle.

        As interpolate(mode="nearest") chooses in Sa2VA, where a region that holds no such pixel is shown by nothing.
        """
        if self.look.fit == "crop":
            short = min(mask.shape)
            top, left = ((side - short) // 2 for side in mask.shape)
            mask = mask[top : top + short, left : left + short]
        side = isqrt(self.patches)
        rows, columns = (np.arange(side) * length // side for length in mask.shape)
        found = np.flatnonzero(mask[rows][:, columns]).tolist()
        if not found and mask.any():
            y, x = (int(np.median(places)) for places in np.nonzero(mask))
            found = [y * side // mask.shape[0] * side + x * side // mask.shape[1]]
        return found

    def _cut(self, branch: Branch, key: str) -> Branch:
        length = self.length(branch)
        free = len(branch.ids) - length
        limit = self.max_length + free
        if length <= self.max_length:
            return branch
        lost = [placed.slot.token for placed in branch.slots if placed.place >= limit]
        images = int((branch.frame[limit:] != _TEXT).sum())
        labels = branch.labels[:limit]
        if lost or images or (labels == IGNORE_LABEL).all():
            what = (
                f"slots {lost}" if lost else f"{images} image positions" if images else "every trained token"
            )
            raise ValueError(
                f"{key or 'dialogue'}: {length} tokens, cut to backbone.max_length={self.max_length}, would lose "
                f"{what}; set backbone.max_length={length} or more, or shorten the text: "
                f"{self.decode(branch.ids.tolist())[-80:]!r}"
            )
        return Branch(branch.ids[:limit], labels, branch.frame[:limit], branch.patch[:limit], branch.slots)


def _control(number: object, name: str) -> int:
    if not isinstance(number, int):
        raise ValueError(f"the tokenizer has no {name} token ({number!r}); load it with `load_tokenizer`")
    return number


def _join(text: str, more: str, *, is_token: bool) -> str:
    """`more`, an added token or the prose behind one, put after `text` with a space where prose would have it."""
    if not text or not more or text[-1].isspace() or more[0].isspace():
        return text + more
    spaced = text[-1] not in _OPENERS if is_token else more[0].isalnum() or more[0] in "([{"
    return f"{text} {more}" if spaced else text + more


@dataclass
class _Draft:
    """A branch while it is written: finished positions, and the text that is not tokenised yet."""

    encoder: DialogueEncoder
    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    frame: list[int] = field(default_factory=list)
    patch: list[int] = field(default_factory=list)
    slots: list[Placed] = field(default_factory=list)
    text: str = ""
    trained: list[bool] = field(default_factory=list)
    """for each character of `text`"""
    pending: list[tuple[int, int, Slot]] = field(default_factory=list)
    """slots in `text`: first character, one past the last, slot"""

    def write(self, text: str, *, trained: bool, slot: Slot | None = None) -> None:
        if slot is not None:
            self.pending.append((len(self.text), len(self.text) + len(text), slot))
        self.text += text
        self.trained += [trained] * len(text)

    def add_ids(self, ids: list[int], *, frame: int, patches: Sequence[int] | None = None) -> None:
        """Positions that are not trained."""
        self.ids += ids
        self.labels += [IGNORE_LABEL] * len(ids)
        self.frame += [frame] * len(ids)
        self.patch += patches if patches is not None else [_TEXT] * len(ids)

    def flush(self) -> None:
        """Tokenises the pending text."""
        if not self.text:
            return
        ids, spans = self.encoder.spoken(self.text, keep=not (self.pending or any(self.trained)))
        self._place(ids, spans)
        trained = [self.trained[start] for start, _ in spans]
        self.ids += ids
        self.labels += [number if train else IGNORE_LABEL for number, train in zip(ids, trained, strict=True)]
        self.frame += [_TEXT] * len(ids)
        self.patch += [_TEXT] * len(ids)
        self.text, self.trained, self.pending = "", [], []

    def _place(self, ids: list[int], spans: list[tuple[int, int]]) -> None:
        """Records each pending slot at the token whose characters (with the swallowed spaces) hold the slot's own."""
        offset = len(self.ids)
        for start, end, slot in self.pending:
            number = self.encoder.token_id(slot.token)
            held = [
                n
                for n, (left, right) in enumerate(spans)
                if left <= start and end <= right and ids[n] == number
            ]
            if len(held) != 1:
                raise ValueError(
                    f"slot {slot.token!r} at characters {start} to {end} became {len(held)} tokens in {self.text!r}"
                )
            word_id = self.encoder.spoken(slot.word, keep=False)[0][0] if slot.word else 0
            self.slots.append(Placed(slot, offset + held[0], word_id))

    def branch(self) -> Branch:
        def array(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            return np.array(values, dtype=np.int64)

        return Branch(
            array(self.ids), array(self.labels), array(self.frame), array(self.patch), tuple(self.slots)
        )
