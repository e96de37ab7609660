"""From a dialogue to token ids, labels and the places of its slots, all three in one pass.

Nothing is searched for afterwards and nothing is tokenised twice: each text between two images is tokenised once, with the
character span of every token, and a token is trained, or is a slot's own, because its characters are. So an image may
expand to any number of positions, and a literal "[SEG]" that a user types is no slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seglm.model.backbones.draft import TEXT, WHOLE, Cut, Draft
from seglm.model.backbones.templates import Template, Written
from seglm.model.backbones.tokenizer import token_ids
from seglm.utils.tiles import grids, images_in, shapes, views
from seglm.utils.types import (
    IGNORE_LABEL,
    IMAGE_POSITION,
    PLAIN,
    Branch,
    Dialogue,
    Images,
    Look,
    Piece,
    Pointed,
    Script,
    Slot,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

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
        """patches: visual tokens of a frame shown in full, or of a cell; image_tokens: written around every frame, or around a
        piece of video; tokens: those a slot may have; max_length: longest complete dialogue, in tokens with one image expanded;
        found: how many tokens the files of the tokenizer hold, behind which a recipe adds its own (None: all); look, side: into
        how many squares of what side a picture is cut that is shown finely, or into how many cells any picture is.

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

    def encode(self, dialogue: Dialogue, *, open: bool = False, key: str = "", cut: Cut = WHOLE) -> Branch:
        """One dialogue as ids, labels and placed slots.

        open: the last answer is () and the ids end where generation begins; such a dialogue is never cut.
        key: names the sample in errors. cut: into which squares the frames of the clip were cut.
        A complete dialogue longer than `max_length` loses tokens at its right end, as in LISA (train: model_max_length
        text tokens less those the image adds) and VideoLISA, whose limit is on text and takes one image for granted, too.
        Raises ValueError naming the sample if a slot, an image or every trained token would be cut off, or if a slot
        has no token of its own in the text.
        """
        try:
            draft = self._draft(self.template.render(dialogue, open=open), cut)
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

        size: (H, W) of its frames, original pixels, by which those are cut that are shown finely, or all of them into cells.
        """
        seen = 1 + max((frame for images in images_in(script) for frame in images.frames), default=-1)
        try:
            counts = views(script, seen, size, look=self.look, side=self.side)
            cells = shapes(script, seen, size, look=self.look, side=self.side)
            grids(script, cells)  # complains of frames that cannot be shown together
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
        return tuple(
            self.encode(
                dialogue,
                open=not dialogue.turns[-1].answer,
                key=f"{key}, dialogue {number + 1} of {len(script)}",
                cut=Cut(counts, cells),
            )
            for number, dialogue in enumerate(script)
        )

    def length(self, branch: Branch) -> int:
        """What `max_length` limits: the tokens of a dialogue, those of one image among them, however many it shows."""
        visual = int((branch.frame != TEXT).sum())
        return len(branch.ids) - max(0, visual - self.patches)

    def rendered(self, dialogue: Dialogue) -> str:
        """The dialogue as it is written before it becomes ids; `<image>` for every frame."""
        written = self.template.render(dialogue, open=not dialogue.turns[-1].answer)
        return "".join(self._spelled(one.piece) for one in written)

    def _spelled(self, piece: Piece) -> str:
        if isinstance(piece, Images):
            before, after = self.image_tokens or ("", "")
            is_whole = piece.fidelity == "moving" and self.look.fit == "cells"
            return f"{before}<image>{after}" * (1 if is_whole else len(piece.frames))
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

    def _draft(self, written: tuple[Written, ...], cut: Cut) -> Draft:
        draft = Draft(self, cut)
        if self.bos is not None:
            draft.add_ids([self.bos], frame=TEXT)
        for one in written:
            if one.begins:
                draft.flush()
            if isinstance(one.piece, Images):
                draft.show(one.piece)
            elif isinstance(one.piece, Pointed):
                draft.point(one.piece)
            elif isinstance(one.piece, Slot):
                draft.write(one.piece.token, trained=one.trained, slot=one.piece)
            else:
                draft.write(one.piece, trained=one.trained)
        draft.flush()
        return draft

    def _cut(self, branch: Branch, key: str) -> Branch:
        length = self.length(branch)
        free = len(branch.ids) - length
        limit = self.max_length + free
        if length <= self.max_length:
            return branch
        lost = [placed.slot.token for placed in branch.slots if placed.place >= limit]
        images = int((branch.frame[limit:] != TEXT).sum())
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
        rotary = None if branch.rotary is None else branch.rotary[:, :limit]
        return Branch(
            branch.ids[:limit], labels, branch.frame[:limit], branch.patch[:limit], branch.slots, rotary
        )


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
