"""The config: the only place that knows the YAML.

`load` reads a file, `validate` takes the merged dictionary that Snakemake made. Both raise
`UserError` with one line: file, path of the key, what is wrong, and the nearest valid name.
"""

from tacolab.config.fields import OWN, FileRef, nearest
from tacolab.config.loading import load, merged, read, schema, validate
from tacolab.config.models import (
    ClipText,
    Coco,
    Constant,
    Empty,
    Execution,
    Folder,
    Human,
    Published,
    Samples,
    Shuffled,
    TextEncoder,
    Training,
    TransformersText,
)
from tacolab.config.study import Study

__all__ = [
    "OWN",
    "ClipText",
    "Coco",
    "Constant",
    "Empty",
    "Execution",
    "FileRef",
    "Folder",
    "Human",
    "Published",
    "Samples",
    "Shuffled",
    "Study",
    "TextEncoder",
    "Training",
    "TransformersText",
    "load",
    "merged",
    "nearest",
    "read",
    "schema",
    "validate",
]
