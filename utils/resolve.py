"""Where weights lie: a path, a folder of weights, the Hugging Face cache, the hub; one function for every flag that
names weights.

Looked at in this order: the path as it is given; the same below `./checkpoints`, `./pretrained` and `$WEIGHTS_ROOT`
(whole, then, of a hub id, its last part); the local Hugging Face cache; the hub, unless `HF_HUB_OFFLINE=1`. What is found
complete in the cache is used without asking the network, so a cluster node without one behaves like any other.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from seglm.utils.containers import WEIGHT_FILES, containers

log = logging.getLogger(__name__)

HUB_ID = re.compile(r"(?!.*(--|\.\.))\w([\w.-]*\w)?/\w([\w.-]*\w)?")  # the hub's own rule; ./name is a path
FOLDERS = ("checkpoints", "pretrained")
ROOT_VARIABLE = "WEIGHTS_ROOT"
FETCHED: Mapping[str, str] = {
    "LLaVA-Lightning-7B-v1-1": "hf download liuhaotian/LLaVA-Lightning-7B-v1-1",
    "sam_vit_h_4b8939.pth": "curl -LO https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
    "sam2_hiera_large.pt": "curl -LO https://dl.fbaipublicfiles.com/segment_anything_2/072824/sam2_hiera_large.pt",
    "sam2.1_hiera_large.pt": "curl -LO https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_large.pt",
}
"""published files that recipes call by a name which is no hub id -> how they are fetched"""
SMALL_FILES = ("*.json", "*.model", "*.txt")


def resolve(path: str | Path, *, what: str = "weights", revision: str | None = None) -> Path:
    """The local file or folder that `path` names; a hub id is fetched if it is in no local place.

    what: what the thing is, for messages, e.g. "the vision tower". revision: branch, tag or commit of a hub id.
    Raises ValueError for no path at all and for a revision of something local, FileNotFoundError that lists every place looked at
    and the next step.
    """
    if not str(path).strip():
        raise ValueError(f"{what}: an empty path; give a file, a folder or a hub id such as owner/name")
    text = str(path).rstrip("/") if len(str(path)) > 1 else str(path)
    looked: list[str] = []
    for place in _local_places(text):
        looked.append(str(place))
        if place.exists():
            return _local(place, revision)
    if not HUB_ID.fullmatch(text):
        raise FileNotFoundError(_message(text, what, looked, hub="not asked: a hub id looks like owner/name"))
    cached = _from_cache(text, revision)
    looked.append(f"{_cache_folder()} (cache of {text}{_at(revision)})")
    if cached is not None:
        return cached
    if _offline():
        raise FileNotFoundError(_message(text, what, looked, hub="not asked: HF_HUB_OFFLINE is set"))
    return _from_hub(text, revision, what, looked)


def _local_places(text: str) -> Iterator[Path]:
    """Candidates in order; a path with a leading / or . is only ever itself, and what lies in another folder under the same last
    name is not what a path meant: only a hub id's owner may be missing.
    """
    given = Path(text).expanduser()
    yield given
    if given.is_absolute() or text.startswith("."):
        return
    roots = [Path(name) for name in FOLDERS]
    if os.environ.get(ROOT_VARIABLE):
        roots.append(Path(os.environ[ROOT_VARIABLE]).expanduser())
    is_hub_id = HUB_ID.fullmatch(text) is not None and not given.parent.is_dir()
    for root in roots:
        yield root / given
        if is_hub_id:
            yield root / given.name


def _local(place: Path, revision: str | None) -> Path:
    if revision is not None:
        raise ValueError(
            f"--revision {revision}: {place} is a local path, and only a hub id has revisions; drop one of the two"
        )
    return place


def _from_cache(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if _complete(folder) else None


def _from_hub(name: str, revision: str | None, what: str, looked: list[str]) -> Path:
    """Fetches the small files and the safetensors, or the pickles where a repository has no safetensors."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    log.info("fetching %s%s from the hub", name, _at(revision))
    try:
        for kinds in (("*.safetensors",), WEIGHT_FILES):
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*SMALL_FILES, *kinds]))
            if _complete(folder):
                return folder
    except (HfHubHTTPError, OSError) as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no answer'}"
        raise FileNotFoundError(_message(name, what, looked, hub=reason)) from error
    raise FileNotFoundError(_message(name, what, looked, hub="this repository holds no weights"))


def _complete(folder: Path) -> bool:
    """True if one of the folder's sets of weights is whole."""
    return any(not one.absent for one in containers(folder))


def _message(text: str, what: str, looked: list[str], *, hub: str) -> str:
    places = "\n".join(f"  {place}" for place in looked)
    fetch = FETCHED.get(
        Path(text).name, f"hf download {text if HUB_ID.fullmatch(text) else '<owner>/<name>'}"
    )
    return (
        f"{what}: {text!r} was not found. Looked at:\n{places}\n  the hub ({hub})\n"
        f"Next step: give an existing path, put the files under ./{FOLDERS[0]} or ${ROOT_VARIABLE}, or fetch them "
        f"on a machine with a network: {fetch}"
    )


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _cache_folder() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _at(revision: str | None) -> str:
    return f" at {revision}" if revision else ""
