"""Sa2VA's fine-tuning files: a list of pictures, or of videos, with masks and a text for each mask."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from seglm.dataset.masks import run_lengths
from seglm.dataset.toy.clips import seen
from seglm.dataset.toy.layouts.outlines import edge_polygons
from seglm.dataset.toy.layouts.shots import Shot, mask_of, positives, save_json, save_shot
from seglm.dataset.toy.layouts.takes import Take, asked, save_frames

FOLDER = Path("my_data")
MAX_TEXTS = 5  # of a picture
QUOTAS = {"own": 3, "attribute": 1}  # expressions of a video
IMAGE_FILES = {"train": "annotations.json", "val": "annotations_val.json"}
VIDEO_FILES = {"train": "video_annotations.json", "val": "video_annotations_val.json"}


def write_pictures(root: Path, split: str, shots: Iterable[Shot]) -> int:
    """Pictures of a split; returns the number of texts."""
    folder = root / FOLDER / "images"
    folder.mkdir(parents=True, exist_ok=True)
    entries, count = [], 0
    for shot in shots:
        phrases = positives(shot, f"my_data {split}")[:MAX_TEXTS]
        if phrases:
            count += len(phrases)
            image = f"{shot.number:09d}.jpg"
            save_shot(shot, folder / image)
            masks = [edge_polygons(mask_of(shot.scene, phrase)) for phrase in phrases]
            entries.append({"image": image, "mask": masks, "text": [phrase.text for phrase in phrases]})
    save_json(entries, root / FOLDER / IMAGE_FILES[split])
    return count


def write_videos(root: Path, split: str, takes: Iterable[Take]) -> int:
    """Videos of a split, as folders of frames; returns the number of texts."""
    entries, count = [], 0
    for take in takes:
        phrases = [one for one in asked(take, f"my_videos {split}", QUOTAS, none_odds=0) if one.targets]
        if phrases:
            count += len(phrases)
            name = f"{take.number:08d}"
            save_frames(take, root / FOLDER / "videos" / name)
            shown = [seen(scene) for scene in take.clip.scenes]
            unions = [[np.asarray(mask[list(one.targets)].any(axis=0)) for mask in shown] for one in phrases]
            masks = [[[run_lengths(mask)] if mask.any() else None for mask in frames] for frames in unions]
            entries.append({"video": name, "mask": masks, "text": [phrase.text for phrase in phrases]})
    save_json(entries, root / FOLDER / VIDEO_FILES[split])
    return count
