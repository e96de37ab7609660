"""The duplication gate counts what it should."""

from __future__ import annotations

from tests.house.duplication import code_lines, repeats

LOOP = "\n".join(f"x{i} = f({i})" for i in range(8))


def test_eight_equal_lines_are_a_repeat_and_seven_are_not() -> None:
    first, second = code_lines(LOOP), code_lines("y = 1\n" + LOOP)
    found, total = repeats([("a.py", first), ("b.py", second)])
    assert {name: len(lines) for name, lines in found.items()} == {"a.py": 8, "b.py": 8}
    assert total == 17
    assert not repeats([("a.py", first[:7]), ("b.py", second)])[0]


def test_comments_docstrings_imports_and_spacing_do_not_count() -> None:
    plain = code_lines("def f(a):\n    return a+1\n")
    dressed = code_lines('"""Doc."""\nimport os\n\n\ndef f( a ):  # why\n    """Says."""\n    return a + 1\n')
    assert [text for _, text in plain] == [text for _, text in dressed]
