"""The plan: every artefact that a config means, its key, its path and what it is made from.

An artefact's path carries the key of everything that made it: eight hex digits of a hash over the
resolved part of the config, the RECIPE number of its stage and the keys of its inputs. Rules and
commands both look artefacts up here, so a path is spelled in one place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any

from tacolab.config import OWN, Cut, Gpt4o, Samples, Shuffled, Study, nearest
from tacolab.errors import UserError
from tacolab.files import atomic

RESULTS = Path("results")
SAMPLES = Path(__file__).parents[1] / "stages/data/samples.json"

# Raise a stage's number by hand when an edit of its code changes its results: everything made by
# it and after it then gets a new path, and nothing old is lost. Metrics and report are not here:
# they are cheap and carry a fingerprint of their sources.
RECIPE = {
    "data": 1,
    "captions": 1,
    "vocabulary": 1,
    "weights": 1,
    "train": 1,
    "import": 1,
    "code": 2,
    "metrics": 1,
    "originals": 2,
    "distribution": 2,
    "anchors": 2,
    "timing": 1,
    "report": 1,
}

# Folder of an artefact below results/, and its declared files, the main one first.
LAYOUT: dict[str, tuple[str, tuple[str, ...]]] = {
    "data": ("data/{dataset}/{key}", ("manifest.json",)),
    "captions": ("captions/{dataset}/{source}", ("{key}.parquet", "{key}.json")),
    "vocabulary": ("weights/{dataset}/{source}", ("{key}.vocabulary.json",)),
    "weights": ("weights/{dataset}/{source}", ("{key}.parquet", "{key}.json")),
    "train": ("models/{arm}/{lmbda}/{seed}/{key}", ("model.safetensors", "model.json")),
    # A weight file of others, made a model like the trained ones.
    "import": ("models/{arm}/{lmbda}/{seed}/{key}", ("model.safetensors", "model.json")),
    "code": (
        "codes/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}",
        ("codes.parquet", "streams.zip", "codes.json"),
    ),
    "metrics": (
        "evaluation/{arm}/{lmbda}/{seed}/{key}/{dataset}",
        ("{control}.parquet", "{control}.json", "{control}.examples.zip"),
    ),
    # What FID and CMMD of every model are measured against.
    "originals": ("evaluation/originals/{dataset}", ("{key}.safetensors", "{key}.json")),
    "distribution": (
        "evaluation/{arm}/{lmbda}/{seed}/{key}/{dataset}",
        ("{control}.distribution.json",),
    ),
    "anchors": ("evaluation/anchors/{dataset}/{codec}", ("{key}.parquet", "{key}.json")),
    "timing": ("timing/{machine}", ("{key}.parquet", "{key}.json")),
    "report": ("report/{key}", ("index.html",)),
}

# What a killed run goes on from, beside them, as globs: of no use once the artefact is there. A
# training's state is kept, for it exports again.
STATE = {
    "captions": "{key}.state",
    "code": "state",
    "metrics": "{control}.state",
    "originals": "{key}.state",
    "distribution": "{control}.distribution.state",
    "anchors": "{key}.state",
    "timing": "{key}.state",
}

# What a study is for; the rest is made on the way.
TARGETS = ("train", "import", "metrics", "distribution", "anchors", "timing")

# What makes a model.
MODELS = ("train", "import")


def digest(content: Any) -> str:
    """The key of plain data: eight hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def snapshot_path(config: Mapping[str, Any]) -> Path:
    """Where the merged config lies for jobs."""
    return RESULTS / "config" / f"{digest(config)}.json"


def snapshot(config: Mapping[str, Any]) -> Path:
    """A file with the merged config that never changes.

    Jobs read it: an edit of the config while they wait in a queue cannot change what they do.
    """
    path = snapshot_path(config)
    content = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    if not path.exists() or path.read_bytes() != content:
        atomic.write_bytes(path, content)
    return path


@dataclass(frozen=True)
class Artefact:
    """One thing the pipeline makes.

    names: its place in the study (data set, arm, lambda ...), spelled as in paths.
    spec: the resolved part of the config it depends on.
    inputs: what it is made from, by role.
    """

    stage: str
    names: dict[str, str]
    spec: Mapping[str, Any]
    inputs: Mapping[str, Artefact] = field(default_factory=dict)

    @cached_property
    def text(self) -> dict[str, Any]:
        """Everything the key stands for; stored in the artefact's JSON."""
        return {
            "stage": self.stage,
            "recipe": RECIPE[self.stage],
            "spec": dict(self.spec),
            "inputs": {role: artefact.key for role, artefact in sorted(self.inputs.items())},
        }

    @cached_property
    def key(self) -> str:
        return digest(self.text)

    @property
    def folder(self) -> Path:
        return RESULTS / LAYOUT[self.stage][0].format(key=self.key, **self.names)

    @property
    def files(self) -> list[Path]:
        """The declared outputs, the main one first."""
        names = LAYOUT[self.stage][1]
        return [self.folder / name.format(key=self.key, **self.names) for name in names]

    @property
    def path(self) -> Path:
        """The main output."""
        return self.files[0]

    @property
    def done(self) -> bool:
        return all(path.exists() for path in self.files)

    @property
    def begun(self) -> list[Path]:
        """What is there of its state."""
        if self.stage not in STATE:
            return []
        names = {name: escape(value) for name, value in self.names.items()}
        return sorted(self.folder.glob(STATE[self.stage].format(key=self.key, **names)))

    def require_inputs(self) -> None:
        """Raises UserError naming the first input file that is missing."""
        for made_from in self.inputs.values():
            for path in made_from.files:
                if not path.exists():
                    raise UserError(
                        f"{path}: is missing; make it first, by `snakemake {made_from.path} "
                        "--profile profiles/local` (and the same --configfile)"
                    )

    def __str__(self) -> str:
        return " ".join([self.stage, *self.names.values(), self.key])


class Plan:
    """Every artefact of a study; the same object is handed out wherever it is needed.

    What an arm does not use stands in no key, so that a new feature trains nothing again.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self._known: dict[tuple[str, str, frozenset[tuple[str, str]]], Artefact] = {}
        for run in study.runs():
            self.model(*run)
            for dataset, how in study.protocol.datasets.items():
                for control in study.controls(run[0], dataset):
                    self.metrics(*run, dataset, control)
                    if control in (OWN, *how.distribution.controls):
                        self.distribution(*run, dataset, control)
        for dataset in study.protocol.datasets:
            for codec in study.protocol.anchors:
                self.anchors(dataset, codec)
        for machine in study.timing.machines if study.timing else ():
            self.timing(machine)
        self.report()

    def __iter__(self) -> Iterator[Artefact]:
        return iter(self._known.values())

    def find(self, stage: str, key: str | None = None, **names: str) -> Artefact:
        """The artefact with these names (and this key). Raises UserError when there is none."""
        found = [
            a
            for a in self
            if a.stage == stage and a.names.items() >= names.items() and key in (None, a.key)
        ]
        if len(found) == 1:
            return found[0]
        asked = " ".join(
            [stage, *(f"{k}={v}" for k, v in names.items()), f"key={key}" if key else ""]
        )
        if found:
            raise UserError(
                f"{asked.strip()}: several artefacts fit; name one with --key: "
                + ", ".join(f"{a.key} ({a})" for a in found)
            )
        raise UserError(f"{asked.strip()}: {self._why_none(stage, names)}")

    def _why_none(self, stage: str, names: Mapping[str, str]) -> str:
        """Which of the names (else the key) fits nothing, and what would."""
        fitting = [a for a in self if a.stage == stage]
        for name, value in names.items():
            valid = dict.fromkeys(a.names.get(name, "") for a in fitting)
            if value not in valid:
                word = {"lmbda": "lambda", "dataset": "data set"}.get(name, name)
                limit = f" up to phase {self.study.phase}" if self.study.phase else ""
                if name == "source" and value in self.study.captions:
                    return (
                        f"captions.{value}: no arm uses it{limit}; name it in arms.NAME.captions, "
                        "or as a control in protocol.datasets.NAME.controls"
                    )
                return f"the config means no {word} '{value}' there{limit}{nearest(value, valid)}"
            fitting = [a for a in fitting if a.names[name] == value]
        return (
            f"the config means key {', '.join(a.key for a in fitting)} now; was it edited since "
            "the job was planned? Start the workflow again, or leave --key out"
        )

    def needed(self) -> list[Artefact]:
        """What is not there and must be made for the targets, inputs first."""
        found: dict[int, Artefact] = {}

        def visit(artefact: Artefact) -> None:
            if id(artefact) in found or artefact.done:
                return
            for made_from in artefact.inputs.values():
                visit(made_from)
            found[id(artefact)] = artefact

        for artefact in self:
            if artefact.stage in (*TARGETS, "report"):
                visit(artefact)
        return list(found.values())

    def _add(self, artefact: Artefact) -> Artefact:
        # The key itself stands among the identity: shuffled captions of two arms share their names.
        identity = (artefact.stage, artefact.key, frozenset(artefact.names.items()))
        return self._known.setdefault(identity, artefact)

    def data(self, dataset: str) -> Artefact:
        config = self.study.datasets[dataset]
        spec = config.model_dump(mode="json")
        if isinstance(config, Samples):  # their captions are ours, and may be edited
            entries = json.loads(SAMPLES.read_text(encoding="utf-8"))
            spec["entries"] = [entries.get(photo) for photo in config.photos]
        return self._add(Artefact("data", {"dataset": dataset}, spec))

    def captions(
        self, dataset: str, source: str, arm: str | None = None, own: Artefact | None = None
    ) -> Artefact:
        """The caption table; `own` is the table of the arm that a control is made from."""
        config = self.study.captions[source]
        spec = config.model_dump(mode="json")
        if "files" in spec:  # captions of other data sets are no business of this one
            spec["file"] = spec.pop("files")[dataset]
        if isinstance(config, Gpt4o):
            spec["per_image"] = config.per_image.get(dataset, 1)
            del spec["attempts"], spec["allowed_failures"]  # change no answer
        inputs = {"data": self.data(dataset)}
        if isinstance(config, Shuffled | Cut) and own:
            inputs["own"] = own
        if isinstance(config, Cut) and arm:
            encoder = _encoder(self.study, arm) or {}
            spec["encoder"] = {key: encoder[key] for key in ("kind", "model")}  # its tokens
        return self._add(Artefact("captions", {"dataset": dataset, "source": source}, spec, inputs))

    def vocabulary(self, arm: str) -> Artefact:
        """Words and their rarity in the arm's training captions; never of a test set."""
        dataset = self.study.recipe(arm).dataset
        captions = self.captions(dataset, self.study.arms[arm].source(dataset))
        return self._add(Artefact("vocabulary", captions.names, {}, {"captions": captions}))

    def weights(self, arm: str, captions: Artefact) -> Artefact:
        """A weight per token of these captions, as the arm's text encoder reads them."""
        study = self.study
        spec = {
            "weights": study.token_weights.model_dump(mode="json"),
            "encoder": _encoder(study, arm),
        }
        inputs = {"captions": captions}
        if study.token_weights.tfidf:
            inputs["vocabulary"] = self.vocabulary(arm)
        return self._add(Artefact("weights", captions.names, spec, inputs))

    def _weighted(self, arm: str, inputs: dict[str, Artefact]) -> dict[str, Artefact]:
        """What an arm with token weights is made from besides; nothing for the others."""
        if self.study.arms[arm].token_weighting == "none" or "captions" not in inputs:
            return {}
        return {"weights": self.weights(arm, inputs["captions"])}

    def model(self, arm: str, lmbda: str, seed: int) -> Artefact:
        """A model that is trained, or imported from a weight file of others.

        An exported epoch comes from the training of the other arm.
        """
        study = self.study
        how = study.arms[arm]
        if how.of:
            return self.model(how.of.arm, lmbda, seed)
        spec: dict[str, Any] = {
            "lmbda": lmbda,
            "codec": study.codec.model_dump(mode="json"),
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
            return self._add(Artefact("import", names, spec))
        recipe = study.recipe(arm)
        spec["seed"] = seed
        spec["training"] = recipe.model_dump(mode="json", exclude={"dataset"})
        inputs = {
            "data": self.data(recipe.dataset),
            "captions": self.captions(recipe.dataset, how.source(recipe.dataset)),
        }
        inputs |= self._weighted(arm, inputs)
        return self._add(Artefact("train", names, spec, inputs))

    def code(self, arm: str, lmbda: str, seed: int, dataset: str, control: str) -> Artefact:
        study = self.study
        how = study.protocol.datasets[dataset]
        inputs = {"model": self.model(arm, lmbda, seed), "data": self.data(dataset)}
        if study.arms[arm].text:
            own = self.captions(dataset, study.arms[arm].source(dataset))
            inputs["captions"] = (
                own if control == OWN else self.captions(dataset, control, arm, own)
            )
            inputs |= self._weighted(arm, inputs)
        names = inputs["model"].names | {"arm": arm, "dataset": dataset, "control": control}
        captions = how.captions_by_arm.get(arm, how.captions) if "captions" in inputs else 1
        spec: dict[str, Any] = {"crop": how.crop, "captions": captions}
        if study.protocol.precision != "fp32":
            spec["precision"] = study.protocol.precision
        if control != OWN and how.control_images is not None:
            spec |= {"captions": 1, "images": how.control_images}
        if of := study.arms[arm].of:
            spec["epoch"] = of.epoch
        return self._add(Artefact("code", names, spec, inputs))

    def metrics(self, arm: str, lmbda: str, seed: int, dataset: str, control: str) -> Artefact:
        code = self.code(arm, lmbda, seed, dataset, control)
        spec = {"examples": self.study.protocol.examples if control == OWN else 0}
        if self.study.arms[arm].checkpoints:  # as their authors measured them
            spec["float_metrics"] = True
        return self._add(Artefact("metrics", code.names, spec, {"codes": code, **code.inputs}))

    def originals(self, dataset: str) -> Artefact:
        """Features of the originals; one of them serves every model."""
        how = self.study.protocol.datasets[dataset]
        spec = {
            "crop": how.crop,
            "fid": how.distribution.fid,
            "cmmd": self.study.protocol.cmmd_model if how.distribution.cmmd else None,
        }
        names = {"dataset": dataset}
        return self._add(Artefact("originals", names, spec, {"data": self.data(dataset)}))

    def distribution(
        self, arm: str, lmbda: str, seed: int, dataset: str, control: str
    ) -> Artefact | None:
        """FID and CMMD of a coding; None where the config asks for neither."""
        how = self.study.protocol.datasets[dataset].distribution
        if not (how.fid or how.cmmd):
            return None
        code = self.code(arm, lmbda, seed, dataset, control)
        spec = {"fid_min_samples": self.study.protocol.fid_min_samples} if how.fid else {}
        inputs = {"codes": code, "originals": self.originals(dataset), **code.inputs}
        return self._add(Artefact("distribution", code.names, spec, inputs))

    def anchors(self, dataset: str, codec: str) -> Artefact:
        study = self.study
        spec = {
            "crop": study.protocol.datasets[dataset].crop,
            "qualities": study.protocol.anchors[codec],  # type: ignore[index]  # a literal key
        }
        names = {"dataset": dataset, "codec": codec}
        return self._add(Artefact("anchors", names, spec, {"data": self.data(dataset)}))

    def timing(self, machine: str) -> Artefact:
        """Times on a machine; the same key on all, so that a copied file is found."""
        assert self.study.timing is not None
        spec = self.study.timing.model_dump(mode="json", exclude={"machines"})
        spec["codec"] = self.study.codec.model_dump(mode="json")
        return self._add(Artefact("timing", {"machine": machine}, spec))

    def report(self) -> Artefact:
        stages = (*MODELS, "metrics", "distribution", "anchors", "timing")
        shown = {str(a): a for a in list(self) if a.stage in stages}
        spec = {
            "title": self.study.title,
            "note": self.study.note,
            "baseline": self.study.protocol.baseline,
            "margins": self.study.protocol.margins.model_dump(),
            "seed": self.study.seed,
            # In their order, which is that of colours and tables.
            "arms": [[name, arm.text, arm.description] for name, arm in self.study.arms.items()],
        }
        if compared := {
            name: arm.baseline for name, arm in self.study.arms.items() if arm.baseline
        }:
            spec["baselines"] = compared
        # What verdicts depend on and no model: stand-ins get none, later phases are awaited.
        if made_up := {name: arm.stand_in for name, arm in self.study.arms.items() if arm.stand_in}:
            spec["stand_ins"] = made_up
        now = {(arm, lmbda) for arm, lmbda, _ in self.study.runs()}
        later = [
            [name, lmbda]
            for name in self.study.arms_with_runs()
            for lmbda in self.study.lambdas_of(name)
            if (name, lmbda) not in now
        ]
        if later:
            spec["later"] = later
        return self._add(Artefact("report", {}, spec, shown))


def _encoder(study: Study, arm: str) -> dict[str, Any] | None:
    """The arm's text encoder; None for a codec that reads no text."""
    text = study.arms[arm].text
    if text is None:
        return None
    spec = study.encoders[text].model_dump(mode="json")
    return {k: v for k, v in spec.items() if (k, v) != ("windows", 1)}
