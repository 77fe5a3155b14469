"""Lines of JSON: whole ones are read, whatever stands between them and however the file ends."""

import json

import pytest

from tacolab.files import json_lines
from tacolab.files.json_lines import Line

STRANGE = {"text": "a dog\u2028and\x85a cat\r"}


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_every_line_once_in_chunks_of_any_size(size: int) -> None:
    first, second = (json.dumps(STRANGE, ensure_ascii=False).encode() + b"\n", b'{"a": 1}\n')
    content = first + b"\n \n" + b"\0\0\n[1]\n\xff\n" + second + b'{"b'
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    found = [*json_lines.read(chunks)]
    assert [line.content for line in found] == [STRANGE, None, None, None, {"a": 1}, None]
    assert [line.torn for line in found] == 5 * [False] + [True]
    for line in found:
        assert content[line.start : line.end].strip()
        assert line.torn or content[line.end - 1 : line.end] == b"\n"


def test_a_last_line_without_its_newline_may_not_be_whole() -> None:
    assert [*json_lines.read([b'{"a": 1}'])] == [Line(None, 0, 8, torn=True)]


def test_reading_goes_on_where_it_was() -> None:
    content = b'{"a": 1}\n{"a": 2}\n'
    (first, second) = json_lines.read([content])
    assert [*json_lines.read([content[first.end :]], first.end)] == [second]
    assert [*json_lines.read([])] == []


def test_what_is_too_deep_is_no_object() -> None:
    (line,) = json_lines.read([b'{"a":' + b"[" * 100_000 + b"\n"])
    assert line.content is None
