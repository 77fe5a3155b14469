"""The config: the only place that knows the YAML.

`load` reads a file, `validate` takes the merged dictionary that Snakemake made. Both raise
`UserError` with one line: file, path of the key, what is wrong, and the nearest valid name.
"""

from tacolab.config.dialects import read
from tacolab.config.execution import Api, Execution
from tacolab.config.fields import OWN, FileRef, expand, nearest
from tacolab.config.loading import load, merged, merged_by_snakemake, validate
from tacolab.config.models import (
    Attention,
    ClipText,
    Coco,
    Constant,
    Cut,
    Empty,
    File,
    Folder,
    Gpt4o,
    HuggingFace,
    Human,
    LongClipText,
    Ofa,
    Published,
    Samples,
    Shuffled,
    Start,
    TextEncoder,
    TokenWeights,
    Training,
    TransformersText,
)
from tacolab.config.reference import schema
from tacolab.config.study import Study
from tacolab.config.timing import Timing

__all__ = [
    "OWN",
    "Api",
    "Attention",
    "ClipText",
    "Coco",
    "Constant",
    "Cut",
    "Empty",
    "Execution",
    "File",
    "FileRef",
    "Folder",
    "Gpt4o",
    "HuggingFace",
    "Human",
    "LongClipText",
    "Ofa",
    "Published",
    "Samples",
    "Shuffled",
    "Start",
    "Study",
    "TextEncoder",
    "Timing",
    "TokenWeights",
    "Training",
    "TransformersText",
    "expand",
    "load",
    "merged",
    "merged_by_snakemake",
    "nearest",
    "read",
    "schema",
    "validate",
]
