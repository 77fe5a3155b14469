# The study from packed photos to the report. Start it with a profile:
#   snakemake --profile profiles/local                                  the whole study
#   snakemake --profile profiles/local --configfile config/demo.yaml    the offline demo
# Rules hold wiring only; what a stage does is in workflow/tacolab/stages/.
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

# Jobs run the code as it was planned: the head tells them where its copy lies (plan/snapshots.py).
CODE = Path(workflow.basedir)
if not workflow.is_main_process:
    CODE = Path(os.environ.get("TACOLAB_CODE", CODE))
    sys.path.insert(0, str(CODE / "workflow"))

# Not unconditionally: Snakemake would merge a --configfile into it, arms and all.
if not workflow.overwrite_configfiles:

    configfile: str(Path(workflow.basedir) / "config/study.yaml")


include: str(CODE / "workflow/rules/common.smk")
include: str(CODE / "workflow/rules/data.smk")
include: str(CODE / "workflow/rules/captions.smk")
include: str(CODE / "workflow/rules/token_weights.smk")
include: str(CODE / "workflow/rules/train.smk")
include: str(CODE / "workflow/rules/evaluate.smk")
include: str(CODE / "workflow/rules/timing.smk")
include: str(CODE / "workflow/rules/report.smk")


rule all:
    default_target: True
    # Every artefact that is asked for, not only the report: a finished one would hide a missing model.
    input:
        WANTED,
