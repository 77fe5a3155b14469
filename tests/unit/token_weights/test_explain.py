"""`tacolab token-weights --explain` shows what is emphasised and why; wrong usage is one line."""

import re
import sys
from collections.abc import Callable

import pytest

from running import run_stage
from tacolab import cli
from tacolab.plan import Plan

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    study: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """run(*options): exit code, stdout and stderr of `tacolab token-weights`."""
    study()

    def start(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tacolab", "token-weights", "-c", "study.yaml", *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr()
        return end.value.code or 0, output.out, output.err  # type: ignore[return-value]

    return start


def rows(out: str) -> list[list[str]]:
    """Token, weight, reasons of each line of the table."""
    return [re.split(r"  +", line.strip()) for line in out.splitlines()[3:]]


def test_without_a_vocabulary_it_says_so(run: Run) -> None:
    code, out, _ = run("--explain", "Neil Armstrong had a dog.")
    assert code == 0
    assert out.splitlines()[0] == "*Neil* *Armstrong* had a *dog*."
    assert rows(out)[:7] == [
        ["[CLS]", "1"],
        ["neil", "1.5", "entity PERSON"],
        ["armstrong", "1.5", "entity PERSON, noun head"],
        ["had", "1"],
        ["a", "1"],
        ["dog", "1.5", "noun head"],
        [".", "1"],
    ]
    assert "as arm keywords reads it, by encoder minilm" in out
    made = (
        r"not made yet: `snakemake results/token_weights/\S+\.vocabulary\.json "
        "--profile profiles/local "
    )
    assert re.search(made + "--configfile study.yaml`", out)


def test_the_command_for_the_vocabulary_means_the_same_study(run: Run) -> None:
    _, out, _ = run("--explain", "a dog", "--set", "seed=3", "--set", "note=two words")
    assert "--configfile study.yaml --config seed=3 'note=two words'`" in out


def test_with_the_vocabulary_of_the_arms_training_captions(
    run: Run, study: Callable[..., Plan]
) -> None:
    plan = study()
    run_stage(plan, plan.find("vocabulary"))
    _, out, _ = run("--explain", "dog runs on the beach", "--arm", "keywords")
    assert ["runs", "1.5", "tf-idf"] in rows(out)
    assert "TF-IDF by results/token_weights/trainset/human/" in out


def test_what_is_cut_off_and_what_steers_terminals(run: Run) -> None:
    _, out, _ = run("--explain", "the [bold] \x1b[31m the " + "the " * 20)
    assert "\x1b" not in out and "\\x1b" in out and "[bold]" in out.replace("*", "")
    assert re.search(r"^\d+ of \d+ tokens are cut off", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "token-weights: name a data set and a source, or give --explain"),
        (["testset"], "token-weights: name a data set and a source, or give --explain"),
        (
            ["testset", "human", "--arm", "plain"],
            "token-weights: name a data set and a source, or giv",
        ),
        (["testset", "--explain", "a"], "token-weights: --explain takes a caption alone"),
        (["--explain", "a", "--arm", "keyword"], "no arm 'keyword'; did you mean 'keywords'?"),
        (["--explain", "caf\udce9 zebra"], r"a caption: 'caf\udce9 zebra' has half a character"),
        (["testset", "human"], "vocabulary.json: is missing; make it first, by `snakemake "),
        (["testset", "humn"], "no source 'humn' there; did you mean 'human'?"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, options: list[str], message: str) -> None:
    code, _, err = run(*options)
    assert code == 2
    assert err.count("\n") == 1 and message in err


def test_a_tokenizer_that_is_not_there_is_named_with_the_remedy(run: Run) -> None:
    encoders = 'encoders={minilm: {kind: clip, model: "./no"}}'
    code, _, err = run("--explain", "a dog", "--set", encoders)
    assert code == 2
    assert "./no: cannot be loaded" in err and "`tacolab data --prefetch`" in err
