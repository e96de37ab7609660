"""The files of the seven video sets and the keys in them, as the miniatures of the real sets have them."""

from __future__ import annotations

EXPRESSION = {"exp": str, "obj_id": [int], "anno_id": [int]}
VIDEO = {"expressions": {"*": EXPRESSION}, "vid_id": int, "frames": [str]}
CODE = {"size": [int], "counts": str}
REFER = {"videos": {"*": {"expressions": {"*": {"exp": str, "obj_id": str}}, "frames": [str]}}}
HIDDEN = {"videos": {"*": {"expressions": {"*": {"exp": str}}, "frames": [str]}}}
OBJECTS = {"videos": {"*": {"objects": {"*": {"category": str, "frames": [str]}}}}}
REVOS = {
    "vid_id": int,
    "height": int,
    "width": int,
    "frames": [str],
    "expressions": {"*": {**EXPRESSION, "type_id": int}},
    "source": str,
}
INSTANCE = {
    **dict.fromkeys(("id", "video_id", "category_id", "iscrowd", "height", "width", "length"), int),
    "segmentations": [CODE],
    "areas": [int],
    "bboxes": [[float]],
}
FORMS: dict[str, object] = {  # file -> its keys, as the miniatures of the real sets have them
    "mevis/train/meta_expressions.json": {"videos": {"*": VIDEO}},
    "mevis/train/mask_dict.json": {"*": [CODE]},
    "mevis/valid_u/meta_expressions.json": {"videos": {"*": VIDEO}},
    "mevis/valid_u/mask_dict.json": {"*": [CODE]},
    "mevis/valid/meta_expressions.json": {"videos": {"*": {**VIDEO, "expressions": {"*": {"exp": str}}}}},
    "Refer-YouTube-VOS/meta_expressions/train/meta_expressions.json": REFER,
    "Refer-YouTube-VOS/meta_expressions/valid/meta_expressions.json": HIDDEN,
    "Refer-YouTube-VOS/meta_expressions/test/meta_expressions.json": HIDDEN,
    "Refer-YouTube-VOS/train/meta.json": OBJECTS,
    "YTVOS/train/meta.json": OBJECTS,
    "YTVOS/valid/meta.json": OBJECTS,
    "DAVIS17/meta_expressions/train/meta_expressions.json": REFER,
    "DAVIS17/meta_expressions/valid/meta_expressions.json": REFER,
    "DAVIS17/train/meta.json": {"videos": {"*": {"objects": {"*": {"category": str}}}}},
    "DAVIS17/valid/meta.json": {"videos": {"*": {"objects": {"*": {"category": str}}}}},
    "DAVIS17_raw/DAVIS/davis_semantics.json": {"*": {"*": str}},
    "ReVOS/meta_expressions_train_.json": {"videos": {"*": REVOS}},
    "ReVOS/meta_expressions_valid_.json": {"videos": {"*": REVOS}},
    "ReVOS/mask_dict.json": {"*": [CODE]},
    "ReVOS/mask_dict_foreground.json": {"*": {"masks_rle": [CODE], "foreground_ratio": [float]}},
    "ReasonVOS/meta_expressions.json": {
        "videos": {
            "*": {
                "source": str,
                "frames": [str],
                "expressions": [{"obj_id": int, "exp_id": int, "exp_text": str, "is_sent": bool}],
            }
        }
    },
    "lvvis/train/meta_expressions.json": {"videos": {"*": VIDEO}},
    "lvvis/train/mask_dict.json": {"*": [CODE]},
    "lvvis/train_instances.json": {
        "info": {},
        "licenses": [],
        "videos": [{"id": int, "height": int, "width": int, "length": int, "file_names": [str]}],
        "annotations": [INSTANCE],
        "categories": [{"id": int, "name": str, "freq": int, "partition": int}],
    },
}
MINIATURES = {  # folder of a miniature -> what its root is called there and here
    "mevis": ("mevis", "mevis"),
    "ref_youtube_vos": ("Refer-YouTube-VOS", "Refer-YouTube-VOS"),
    "youtube_vos": ("YTVOS", "YTVOS"),
    "ref_davis17": ("DAVIS17", "DAVIS17"),
    "revos": ("ReVOS", "ReVOS"),
    "reasonvos": ("ReasonVOS", "ReasonVOS"),
    "lvvis": ("lvvis", "lvvis"),
}


def check_form(value: object, wanted: object, *, at: str = "") -> None:
    """Check the keys and types of a JSON value; "*" stands for any number of keys, None for what is not seen."""
    if isinstance(wanted, dict) and set(wanted) == {"*"}:
        assert isinstance(value, dict), at
        for name, inner in value.items():
            check_form(inner, wanted["*"], at=f"{at}/{name}")
    elif isinstance(wanted, dict):
        assert isinstance(value, dict) and set(value) - {"kind"} == set(wanted), (at, value)
        for name, inner in wanted.items():
            check_form(value[name], inner, at=f"{at}/{name}")
    elif isinstance(wanted, list):
        assert isinstance(value, list), at
        for inner in value:
            if inner is not None:
                check_form(inner, wanted[0], at=f"{at}[]")
    else:
        assert isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool), (at, value)  # type: ignore[arg-type]
