"""Each caption source has one rule: networks that describe images have their own."""

from conftest import DEMO, Project

SOURCES = """captions:
  ofa-tiny: {kind: ofa, model: ./ofa}
  blip: {kind: hf, model: ./blip}
  ofa: {kind: constant, text: its name is the beginning of a network's}
"""
ARMS = """arms:
  described: {text: minilm, captions: {photos-train: blip, photos: ofa-tiny}}
  constant: {text: minilm, captions: ofa}
"""


def test_networks_have_a_rule_of_their_own(clone: Project) -> None:
    clone.edit(DEMO, "\ncaptions:\n", "\n" + SOURCES)
    clone.edit(DEMO, "\narms:\n", "\n" + ARMS)
    planned = clone.planned()
    assert planned["describe"] == 2
    assert planned["captions"] == 3 + 2  # human ones and a control before, now constant ones, too
    assert clone.planned("--until", "describe") == {"data": 2, "describe": 2}
    assert set(clone.planned("--until", "captions", "describe")) == {"data", "captions", "describe"}
