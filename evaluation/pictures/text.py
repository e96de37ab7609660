"""Text and paper for the pictures that reports are made of: one font, measured wrapping, no text outside its box."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
PAPER: Colour = (255, 255, 255)
INK: Colour = (33, 37, 41)
FAINT: Colour = (108, 117, 125)
LINE: Colour = (222, 226, 230)
BAND: Colour = (241, 243, 245)
LEADING = 1.3  # line distance over font size


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: Latin, Greek, Cyrillic, arrows and signs of mathematics."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def wrapped(text: str, width: int, face: ImageFont.FreeTypeFont, *, max_lines: int) -> list[str]:
    """The text in lines of at most `width` pixels; what does not fit into `max_lines` ends in an ellipsis."""
    lines, words = [""], text.split()
    while words:
        word = words.pop(0)
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
        elif not lines[-1]:  # one word wider than the box is broken
            fits = max(1, sum(face.getlength(word[:end]) <= width for end in range(1, len(word) + 1)))
            lines[-1] = word[:fits]
            words.insert(0, word[fits:])
        else:
            lines.append("")
            words.insert(0, word)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], shortened(" ".join(lines[max_lines - 1 :]), width, face, cut=True)]
    return lines


def shortened(text: str, width: int, face: ImageFont.FreeTypeFont, *, cut: bool = False) -> str:
    """The text in one line of at most `width` pixels, with an ellipsis if something had to go."""
    if not cut and face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}\u2026") > width:
        text = text[:-1]
    return f"{text.rstrip()}\u2026"


def write(
    paper: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    *,
    width: int,
    size: int = 13,
    bold: bool = False,
    colour: Colour = INK,
    max_lines: int = 1,
) -> int:
    """Writes wrapped text with its top left corner at `at` (x, y); returns the y below the last line."""
    face, (left, top) = font(size, bold=bold), at
    for line in wrapped(text, width, face, max_lines=max_lines):
        paper.text((left, top), line, font=face, fill=colour)
        top += round(size * LEADING)
    return top


def blank(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """White paper and the pen for it."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)
