"""Keys and paths: a change of the config means other artefacts exactly where results change."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tacolab import config
from tacolab.errors import UserError
from tacolab.plan import Artefact, Plan, Stage, digest
from tacolab.plan.stages import STAGES

STUDY: dict[str, Any] = {
    "title": "test",
    "lambdas": ["0.0016", "0.015"],
    "datasets": {
        "trainset": {"kind": "samples", "photos": ["astronaut", "coffee"], "min_side": 256},
        "photos": {"kind": "samples", "photos": ["china"], "min_side": 256},
        "kodak": {"kind": "folder", "images": "kodak", "list": "kodak/SHA256SUMS"},
    },
    "captions": {
        "human": {"kind": "human"},
        "released": {"kind": "published", "files": {"kodak": "k.json", "photos": "p.json"}},
        "constant": {"kind": "constant"},
        "shuffled": {"kind": "shuffled"},
    },
    "encoders": {
        "small": {"kind": "transformers", "model": "some/encoder", "width": 384},
        "clip": {"kind": "clip"},
    },
    "codec": {"N": 8, "M": 8, "groups": [2, 6]},
    "training": {"dataset": "trainset", "crop": 128, "joint_weight": 0},
    "arms": {
        "taco": {
            "text": "small",
            "captions": {"trainset": "human", "photos": "human", "kodak": "released"},
        },
        "wide": {
            "text": "clip",
            "captions": {"trainset": "human", "photos": "released", "kodak": "released"},
        },
        "image-only": {"text": None, "captions": "human"},
    },
    "protocol": {
        "baseline": "taco",
        "datasets": {
            "photos": {"crop": 256, "captions": 2, "controls": ["constant", "shuffled"]},
            "kodak": {"controls": ["shuffled"]},
        },
        "anchors": {"jpeg": [10, 50], "webp": [10, 50]},
    },
}


def study(**places: Any) -> dict[str, Any]:
    """The study with places changed; `__` between keys stands for a step inwards."""
    changed = copy.deepcopy(STUDY)
    for path, value in places.items():
        *parents, last = path.split("__")
        place = changed
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = value
    return changed


def plan(**places: Any) -> Plan:
    return Plan(config.validate(study(**places), "test.yaml"))


def paths(what: Plan) -> dict[Path, Artefact]:
    return {artefact.path: artefact for artefact in what}


def moved(before: Plan, after: Plan) -> set[str]:
    """Artefacts without a key that have another path afterwards; names of arms, sets ... joined."""
    old, new = paths(before), paths(after)
    assert {label(a) for a in old.values()} == {label(a) for a in new.values()}
    return {label(new[path]) for path in new.keys() - old.keys()}


def label(artefact: Artefact) -> str:
    """Without key; for a shuffled table with what it shuffles."""
    own = artefact.inputs.get("own")
    return "/".join(
        [artefact.stage.name, *artefact.names.values(), own.names["source"] if own else ""]
    )


def downstream(what: Plan, *first: Callable[[Artefact], bool]) -> set[str]:
    """What depends on the artefacts that the predicates choose, these included."""

    def touched(artefact: Artefact) -> bool:
        return any(f(artefact) for f in first) or any(map(touched, artefact.inputs.values()))

    return {label(a) for a in what if touched(a)}


def is_(stage: str, **names: str) -> Callable[[Artefact], bool]:
    return lambda a: a.stage.name == stage and a.names.items() >= names.items()


BASE = plan()


def test_the_keys_of_today_are_those_of_tomorrow() -> None:
    # If this fails, the way keys are hashed (or a default of the config) has changed: every
    # artefact of every study gets a new path and everything is trained anew. Change these only
    # where that is meant.
    assert digest({"b": [1, 0.5, None], "a": "ä"}) == "b700b46a"
    assert BASE.find("data", dataset="trainset").key == "26439772"
    assert BASE.find("captions", dataset="trainset").key == "b8cd7fbe"
    assert BASE.find("train", arm="taco", lmbda="0.0016").key == "cd63ad94"
    names = {"arm": "taco", "lmbda": "0.0016", "dataset": "photos", "control": "own"}
    assert BASE.find("code", **names).key == "ea7d7a0d"


def test_a_key_is_eight_hex_digits_of_the_text_that_is_stored() -> None:
    for artefact in BASE:
        # As it is read back from the JSON beside the artefact.
        assert digest(json.loads(json.dumps(artefact.ingredients))) == artefact.key
        assert len(artefact.key) == 8
        assert int(artefact.key, 16) >= 0


def test_no_two_artefacts_share_a_file() -> None:
    files = [path for artefact in BASE for path in artefact.files]
    assert len(files) == len(set(files))
    # Nor does one lie where another has its folder.
    folders = {parent for path in files for parent in path.parents}
    assert not folders & set(files)


def test_planning_twice_gives_the_same() -> None:
    assert [str(a) for a in plan()] == [str(a) for a in BASE]


def test_equal_tables_are_one_artefact_and_different_ones_are_not() -> None:
    shuffled = [a for a in BASE if is_("captions", source="shuffled")(a)]
    # photos: human for taco, released for wide; kodak: released for both.
    assert sorted(label(a) for a in shuffled) == [
        "captions/kodak/shuffled/released",
        "captions/photos/shuffled/human",
        "captions/photos/shuffled/released",
    ]


def test_a_codec_without_text_has_no_controls_and_reads_no_captions() -> None:
    codes = [a for a in BASE if is_("code", arm="image-only")(a)]
    assert {a.names["control"] for a in codes} == {"own"}
    assert all("captions" not in a.inputs for a in codes)


@pytest.mark.parametrize(
    "places",
    [
        {"data_root": "/elsewhere"},
        {"execution": {"device": "cpu", "workers": 7, "log_every": 1, "checkpoint_minutes": 1}},
        {"training": {"crop": 128.0, "joint_weight": 0.0, "dataset": "trainset"}},
        {"encoders__unused": {"kind": "clip"}},
        {"captions__unused": {"kind": "empty"}},
        {"datasets__unused": {"kind": "samples", "photos": ["rocket"]}},
        {"captions__released__files": {"kodak": "k.json", "photos": "p.json", "trainset": "t"}},
        {"datasets__kodak__list": {"path": "kodak/SHA256SUMS", "sha256": None}},
        {"datasets__kodak__images": "kodak/"},
        # Defaults, written out
        {"seed": 100},
        {"training__batch": 8},
        {"training__milestones": [45, 48]},
        {"training__learning_rate": "1e-4"},  # YAML 1.1 reads this as text
        {"encoders__clip__model": "openai/clip-vit-base-patch32"},
        {"captions__constant__text": "NA"},
        {"captions__shuffled__seed": 1},
        {"protocol__examples": 4},
        {"protocol__datasets__kodak__crop": None},
        {"protocol__datasets__kodak__captions": 1},
        {"protocol__datasets__kodak__distribution": {"fid": None, "cmmd": False}},
        # Of numbers that no data set asks for
        {"protocol__fid_min_samples": 5, "protocol__cmmd_model": "another/clip"},
        {"arms__taco__lambdas": ["0.0016", "0.015"]},
        # An arm's own recipe that says what the study says
        {"arms__taco__training": {"batch": 8, "crop": 128}},
        {"arms__taco__training": {"dataset": "trainset"}},
        {"arms__taco__training": {"crop": None}},
    ],
)
def test_what_changes_no_result_changes_no_path(places: dict[str, Any]) -> None:
    assert paths(plan(**places)).keys() == paths(BASE).keys()


@pytest.mark.parametrize(
    "places",
    [
        {"title": "another"},
        {"note": "a note"},
        {"arms__taco__description": "the baseline"},
        {"protocol__baseline": "wide"},
    ],
)
def test_words_of_the_report_change_the_report_only(places: dict[str, Any]) -> None:
    assert moved(BASE, plan(**places)) == {"report/"}


CONTROLS = ("own", "constant", "shuffled")
CHANGES: list[tuple[dict[str, Any], list[Callable[[Artefact], bool]]]] = [
    ({"codec": {"N": 16, "M": 8, "groups": [2, 6]}}, [is_("train")]),
    ({"codec": {"N": 8, "M": 8, "groups": [4, 4]}}, [is_("train")]),
    *(
        ({f"training__{name}": value}, [is_("train")])
        for name, value in {
            "epochs": 51,
            "batch": 9,
            "crop": 64,
            "learning_rate": 2e-4,
            "aux_learning_rate": 2e-3,
            "milestones": [45],
            "clip_norm": 2.0,
            "lpips_weight": 0,
            "lpips_range": "standard",
            "joint_weight": 0.005,
            "joint_distance_weight": 41,
            "joint_model": "another/clip",
            "joint_tokens": 40,
            "export_epochs": [27],
            "validation_images": 7,
        }.items()
    ),
    ({"arms__taco__training": {"lpips_weight": 0}}, [is_("train", arm="taco")]),
    ({"encoders__small__max_tokens": 20}, [is_("train", arm="taco")]),
    ({"encoders__small__model": "other/encoder"}, [is_("train", arm="taco")]),
    ({"encoders__clip__width": 768}, [is_("train", arm="wide")]),
    ({"arms__taco__text": "clip"}, [is_("train", arm="taco")]),
    ({"datasets__kodak__images": "kodim"}, [is_("data", dataset="kodak")]),
    ({"datasets__kodak__min_side": 2}, [is_("data", dataset="kodak")]),
    ({"datasets__photos__photos": ["china", "rocket"]}, [is_("data", dataset="photos")]),
    (
        {"datasets__trainset__photos": ["coffee", "astronaut"]},
        [is_("data", dataset="trainset")],
    ),
    ({"captions__constant__text": "no"}, [is_("captions", source="constant")]),
    ({"captions__shuffled__seed": 2}, [is_("captions", source="shuffled")]),
    (
        {"captions__released__files": {"kodak": "new.json", "photos": "p.json"}},
        [is_("captions", source="released", dataset="kodak")],
    ),
    (
        {"protocol__datasets__photos__crop": 128},
        [is_("code", dataset="photos"), is_("anchors", dataset="photos")],
    ),
    # A codec without text codes once, however many captions there are.
    (
        {"protocol__datasets__photos__captions": 3},
        [is_("code", dataset="photos", arm="taco"), is_("code", dataset="photos", arm="wide")],
    ),
    (
        {"protocol__datasets__photos__captions_by_arm": {"wide": 3}},
        [is_("code", dataset="photos", arm="wide", control=c) for c in CONTROLS],
    ),
    (
        {"protocol__datasets__photos__control_images": 5},
        [is_("code", dataset="photos", control=c) for c in CONTROLS[1:]],
    ),
    ({"protocol__examples": 2}, [is_("metrics", control="own")]),
    ({"protocol__anchors": {"jpeg": [10, 60], "webp": [10, 50]}}, [is_("anchors", codec="jpeg")]),
]


@pytest.mark.parametrize(("places", "first"), CHANGES)
def test_a_change_moves_exactly_what_depends_on_it(
    places: dict[str, Any], first: list[Callable[[Artefact], bool]]
) -> None:
    assert moved(BASE, plan(**places)) == downstream(BASE, *first)


def test_another_training_set_moves_the_models_and_what_follows() -> None:
    after = plan(training__dataset="photos")
    new = [a for path, a in paths(after).items() if path not in paths(BASE)]
    assert {a.stage.name for a in new} == {"train", "code", "metrics", "report"}
    assert all(
        a.inputs["data"].names["dataset"] == "photos" for a in new if a.stage.name == "train"
    )


def test_an_arms_caption_source_moves_that_arm_beside_the_old_one() -> None:
    after = plan(
        arms__taco__captions={"trainset": "constant", "photos": "human", "kodak": "released"}
    )
    new = [a for path, a in paths(after).items() if path not in paths(BASE)]
    assert {a.names.get("arm") for a in new} == {"taco", None}
    assert {label(a) for a in new if "arm" not in a.names} == {
        "captions/trainset/constant/",
        "report/",
    }
    assert {a.stage.name for a in new if "arm" in a.names} == {"train", "code", "metrics"}
    # And only what is evaluated with it, where only the evaluation's captions change.
    after = plan(
        arms__taco__captions={"trainset": "human", "photos": "released", "kodak": "released"}
    )
    new = [a for path, a in paths(after).items() if path not in paths(BASE)]
    # Constant captions are the same whatever the arm's own are.
    assert {label(a) for a in new} == {
        f"{stage}/taco/{lmbda}/100/photos/{control}/"
        for stage in ("code", "metrics")
        for lmbda in STUDY["lambdas"]
        for control in ("own", "shuffled")
    } | {"report/"}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_other_code_of_a_stage_moves_it_and_what_follows(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A raised recipe, or for cheap stages the code itself."""
    real = Stage.code.fget

    def code(self: Stage) -> dict[str, Any]:
        return {"recipe": 1000} if self is stage else real(self)

    monkeypatch.setattr(Stage, "code", property(code))
    assert moved(BASE, plan()) == downstream(BASE, is_(stage.name))


@pytest.mark.parametrize(
    "places",
    [
        {"lambdas": ["0.0016", "0.015", "0.004"]},
        {"arms__taco__extra_seeds": {"0.0016": [101]}},
        {"arms__another": {"text": "small", "captions": "constant"}},
        {"protocol__datasets__trainset": {}},
        {"protocol__datasets__kodak__controls": ["shuffled", "constant"]},
        {"protocol__datasets__kodak__controls_by_arm": {"wide": ["constant"]}},
        {"protocol__datasets__photos__distribution": {"fid": "patches", "controls": ["constant"]}},
        {"protocol__datasets__kodak__distribution": {"cmmd": True}},
        {"protocol__anchors": {"jpeg": [10, 50], "webp": [10, 50], "avif": [50]}},
        {"arms__taco__lambdas": ["0.0016", "0.015", "0.03"]},
    ],
)
def test_what_is_added_only_adds(places: dict[str, Any]) -> None:
    before, after = paths(BASE), paths(plan(**places))
    assert {before[path].stage.name for path in before.keys() - after.keys()} == {"report"}
    assert len(after) > len(before)


def test_all_models_share_the_originals_and_only_what_is_asked_for_has_a_distance() -> None:
    after = plan(
        protocol__datasets__photos__distribution={"fid": "images", "controls": ["shuffled"]},
        protocol__datasets__kodak__distribution={"cmmd": True},
    )
    made = [a for a in after if a.stage.name == "distribution"]
    kodak = [a for a in made if a.names["dataset"] == "kodak"]
    originals = after.find("originals", dataset="kodak")
    assert all(a.inputs["originals"] is originals for a in kodak)
    assert {(a.names["arm"], a.names["dataset"], a.names["control"]) for a in made} == {
        *((arm, dataset, "own") for arm in STUDY["arms"] for dataset in ("photos", "kodak")),
        ("taco", "photos", "shuffled"),
        ("wide", "photos", "shuffled"),
    }
    # The least number of samples is FID's business alone, and no features' at all.
    fewer = plan(
        protocol__datasets__photos__distribution={"fid": "images", "controls": ["shuffled"]},
        protocol__datasets__kodak__distribution={"cmmd": True},
        protocol__fid_min_samples=50,
    )
    assert {label(a) for a in fewer} == {label(a) for a in after}
    changed = {label(a) for p, a in paths(fewer).items() if p not in paths(after)}
    assert changed == {label(a) for a in made if a.names["dataset"] == "photos"} | {"report/"}


def test_an_added_lambda_trains_just_that() -> None:
    after = paths(plan(lambdas=["0.0016", "0.015", "0.004"]))
    new = [after[path] for path in after.keys() - paths(BASE).keys()]
    assert {a.names.get("lmbda", "0.004") for a in new} == {"0.004"}
    assert {a.stage.name for a in new} == {"train", "code", "metrics", "report"}


def test_what_verdicts_alone_depend_on_makes_the_report_anew() -> None:
    phased = {"lambdas": ["0.0016", "0.015", "0.03"], "phase": 1}
    one, other = (
        plan(phases=[["0.0016"], ["0.015", "0.03"]], arms__wide__lambdas=lambdas, **phased)
        for lambdas in (["0.0016"], ["0.0016", "0.03"])
    )
    for before, after in ((BASE, plan(arms__wide__stand_in="made-up captions")), (one, other)):
        changed = paths(before).keys() ^ paths(after).keys()
        assert changed == {before.find("report").path, after.find("report").path}


def test_order_of_lambdas_arms_and_sets_moves_nothing() -> None:
    turned = {name: dict(reversed(STUDY[name].items())) for name in ("arms", "datasets")}
    after = plan(lambdas=["0.015", "0.0016"], **turned)
    # But the report: arms stand and are coloured in their order.
    report = {BASE.find("report").path, after.find("report").path}
    assert paths(after).keys() - report == paths(BASE).keys() - report


def test_runs_are_planned_lambda_by_lambda() -> None:
    runs = plan(arms__taco__extra_seeds={"0.0016": [101]}).study.runs()
    assert runs == [
        ("taco", "0.0016", 100),
        ("taco", "0.0016", 101),
        ("wide", "0.0016", 100),
        ("image-only", "0.0016", 100),
        ("taco", "0.015", 100),
        ("wide", "0.015", 100),
        ("image-only", "0.015", 100),
    ]


PHASES: dict[str, Any] = {
    "phases": [["0.015"], ["0.0016", "0.03"]],
    "arms__taco__lambdas": ["0.0016", "0.015", "0.03"],
    "arms__wide__lambdas": ["0.0016"],
    "arms__taco__extra_seeds": {"0.015": [101]},
}


def test_a_phase_limits_the_runs_and_the_last_has_the_further_seeds() -> None:
    runs = [plan(phase=phase, **PHASES).study.runs() for phase in (1, 2, None)]
    assert runs[0] == [("taco", "0.015", 100), ("image-only", "0.015", 100)]
    assert set(runs[1]) - set(runs[0]) == {
        ("taco", "0.015", 101),
        ("taco", "0.0016", 100),
        ("taco", "0.03", 100),
        ("wide", "0.0016", 100),
        ("image-only", "0.0016", 100),
    }
    assert runs[1] == runs[2] == plan(**(PHASES | {"phases": []})).study.runs()


def test_phases_are_in_no_key() -> None:
    plain = paths(plan(**(PHASES | {"phases": []})))
    limited = plan(phase=1, **PHASES)
    # The report has the key of what it shows.
    assert {a.stage.name for path, a in paths(limited).items() if path not in plain} == {"report"}
    assert paths(plan(phase=2, **PHASES)).keys() == plain.keys()


def test_a_model_of_a_later_phase_is_named_as_such() -> None:
    with pytest.raises(UserError, match=r"no lambda '0\.0016' there up to phase 1"):
        plan(phase=1, **PHASES).find("train", arm="taco", lmbda="0.0016")


def test_changing_back_finds_everything_again() -> None:
    plan(training__crop=64)
    assert paths(plan(training__crop=128)).keys() == paths(BASE).keys()


# -- finding ----------------------------------------------------------------------------------


def test_find_hands_out_the_planned_object() -> None:
    names = {"arm": "taco", "lmbda": "0.015", "dataset": "kodak", "control": "own", "seed": "100"}
    found = BASE.find("metrics", **names)
    assert found is BASE.find("metrics", found.key, **names)
    assert found in list(BASE)


NAMES = {"arm": "taco", "lmbda": "0.015", "seed": "100"}


@pytest.mark.parametrize(
    ("stage", "names", "message"),
    [
        ("train", {"arm": "tako"}, "no arm 'tako' there; did you mean 'taco'?"),
        ("train", {"lmbda": "0.15"}, "no lambda '0.15' there; did you mean '0.015'?"),
        ("train", {"lmbda": "0.0160"}, "no lambda '0.0160' there; did you mean"),
        ("train", {"lmbda": "7"}, "no lambda '7' there; valid: 0.0016, 0.015"),
        ("train", {"seed": "3"}, "no seed '3' there; valid: 100"),
        ("metrics", {"dataset": "kodac"}, "no data set 'kodac' there; did you mean 'kodak'?"),
        ("metrics", {"dataset": "kodak", "control": "constant"}, "no control 'constant' there; va"),
        ("train", {"key": "00000000"}, "the config means key"),
    ],
)
def test_find_says_which_name_fits_nothing(stage: str, names: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        BASE.find(stage, **(NAMES | names))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_find_asks_for_a_key_where_several_fit() -> None:
    with pytest.raises(UserError, match="several artefacts fit; name one with --key"):
        BASE.find("captions", dataset="photos", source="shuffled")


# -- what is to be made -----------------------------------------------------------------------


def make(artefact: Artefact) -> None:
    for path in artefact.files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_needed_lists_inputs_first_and_nothing_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = BASE.needed()
    assert {str(a) for a in needed} == {str(a) for a in BASE}
    for place, artefact in enumerate(needed):
        before = {str(a) for a in needed[:place]}
        assert {str(a) for a in artefact.inputs.values()} <= before
    for artefact in needed:
        artefact.files[0].parent.mkdir(parents=True, exist_ok=True)
        make(artefact)
    assert BASE.needed() == []


def test_finished_results_need_no_intermediate_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A copy of results/ without codes and packed data is complete.
    monkeypatch.chdir(tmp_path)
    for artefact in BASE:
        if artefact.stage.wanted:
            make(artefact)
    assert BASE.needed() == []
    # A lost table of metrics needs its codes again, which need packed data and captions.
    lost = BASE.find("metrics", dataset="kodak", control="own", **NAMES)
    lost.path.unlink()
    assert {a.stage.name for a in BASE.needed()} == {"data", "captions", "code", "metrics"}


def test_a_path_names_its_artefact_and_a_folder_only_one_of_its_own() -> None:
    model = BASE.find("train", **NAMES)
    assert all(BASE.at(path) is model for path in (*model.files, model.folder))
    tables = BASE.every(BASE.find("anchors", dataset="photos", codec="jpeg").stage)
    assert BASE.at(tables[0].files[1]) is tables[0]
    shuffled = [a for a in BASE if a.names.get("source") == "shuffled"]
    (folder,) = {a.folder for a in shuffled if a.names["dataset"] == "photos"}
    with pytest.raises(UserError, match="holds several artefacts; name a file"):
        BASE.at(folder)
    with pytest.raises(UserError, match="the config means no such file now; did you mean results"):
        BASE.at(Path(f"{model.path}x"))


def test_a_missing_input_is_named_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = BASE.find("train", **NAMES)
    with pytest.raises(UserError, match=r"manifest\.json: is missing; make it first, by `snakema"):
        model.require_inputs()
    for artefact in model.inputs.values():
        make(artefact)
    model.require_inputs()
    assert not model.done
    make(model)
    assert model.done
    model.files[1].unlink()  # one of its files is not enough
    assert not model.done


# -- exported epochs --------------------------------------------------------------------------


EXPORT: dict[str, Any] = {"of": {"arm": "taco", "epoch": 2}, "lambdas": ["0.015"]}


def test_an_exported_epoch_is_evaluated_and_trains_nothing() -> None:
    before = plan(arms__taco__training={"export_epochs": [2]})
    changes = {"arms__taco__training": {"export_epochs": [2]}, "arms__taco@2": EXPORT}
    after = plan(**changes)
    new = [a for path, a in paths(after).items() if path not in paths(before)]
    assert {a.stage.name for a in new} == {"code", "metrics", "report"}
    assert {a.names["arm"] for a in new if a.stage.name != "report"} == {"taco@2"}
    assert paths(before).keys() - paths(after).keys() == {before.find("report").path}
    of = after.find("code", arm="taco@2", lmbda="0.015", seed="100", dataset="kodak", control="own")
    whole = after.find("code", **(of.names | {"arm": "taco"}))
    assert of.inputs == whole.inputs and of.key != whole.key
    assert of.inputs["model"].names["arm"] == "taco"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"of": {"arm": "tako", "epoch": 2}}, "of.arm: no trained arm 'tako'; did you mean 'taco'"),
        ({"of": {"arm": "taco", "epoch": 3}}, "of.epoch: 3 is not among the export_epochs of arm"),
        (EXPORT | {"text": None}, "text: is that of arm 'taco'; take it out"),
        (EXPORT | {"lambdas": ["0.03"]}, "lambdas: arm 'taco' has no model at '0.03'"),
        ({"of": {"arm": "taco"}}, "of.epoch: is missing"),
    ],
)
def test_a_wrong_export_is_named(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan(**{"arms__taco__training": {"export_epochs": [2]}, "arms__taco@2": entry})
    assert message in str(caught.value)
