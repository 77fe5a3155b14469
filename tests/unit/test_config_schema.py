"""The committed configs, the schema beside them, and junk anywhere."""

import copy
import difflib
import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from config_study import COMMITTED, CONFIG, DEMO, changed
from tacolab import config
from tacolab.config import Study, reference
from tacolab.errors import UserError


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_configs_load_and_validate_against_the_schema(name: str) -> None:
    path = CONFIG / name
    assert isinstance(config.load(path), Study)
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=study.schema.json"
    # What an editor does with it: an error here would underline a correct config.
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(config.schema()))


def test_the_committed_schema_is_that_of_the_models() -> None:
    committed = (CONFIG / "study.schema.json").read_text()
    assert committed == config.schema(), "the models have changed: run `make schema`"


def test_the_tables_of_the_readme_are_those_of_the_models() -> None:
    committed = (CONFIG / "README.md").read_text()
    made = reference.with_tables(committed)
    changes = difflib.unified_diff(committed.splitlines(), made.splitlines(), "README.md", "models")
    assert committed == made, "run `make schema`:\n" + "\n".join(changes)


def test_every_key_stands_in_a_table() -> None:
    readme = (CONFIG / "README.md").read_text()
    shown = {
        name for names in re.findall("<!-- table: (.*) -->", readme) for name in names.split(", ")
    }
    have = {name for name, model in reference.models().items() if {*model.model_fields} - {"kind"}}
    # AnyDataset's keys stand with each kind of data set, TrainingChange's are those of Training.
    assert have - shown == {"AnyDataset", "TrainingChange"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("lambda", 1),
        ("lambdas", ["4e-4"]),
        ("training/crop", 100),
        ("arms/taco/training", {"crop": 100}),
        ("arms/taco/captions", 3),
        ("datasets/photos/kind", "foldr"),
        ("datasets/kodak/list", 3),
    ],
)
def test_the_schema_finds_slips_while_they_are_typed(path: str, value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed(path, value), json.loads(config.schema()))


def test_every_key_says_what_it_is() -> None:
    for model in reference.models().values():
        for name, field in model.model_fields.items():
            # Kinds stand in tables of their own, by what their models say.
            assert field.description or (name == "kind" and model.__doc__), f"{model}, {name}"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("human"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in plain data."""
    inner = node.items() if isinstance(node, dict) else ()
    inner = enumerate(node) if isinstance(node, list) else inner
    return [path] * bool(path) + [p for key, value in inner for p in places(value, (*path, key))]


@given(
    place=st.sampled_from(places(DEMO)),
    junk=JUNK,
    spoil=st.sampled_from(["replace", "add", "rename"]),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_junk_anywhere_is_a_user_error_or_a_study(
    place: tuple[Any, ...], junk: Any, spoil: str
) -> None:
    study = copy.deepcopy(DEMO)
    *parents, last = place
    holder: Any = study
    for key in parents:
        holder = holder[key]
    spoilers: dict[str, Callable[[], Any]] = {
        "replace": lambda: holder.__setitem__(last, junk),
        "add": lambda: holder.__setitem__(str(junk), junk) if isinstance(holder, dict) else None,
        "rename": lambda: (
            holder.__setitem__(str(junk), holder.pop(last)) if isinstance(holder, dict) else None
        ),
    }
    spoilers[spoil]()
    try:
        assert isinstance(config.validate(study, "my.yaml"), Study)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
