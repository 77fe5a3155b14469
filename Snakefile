# The study from packed photos to the report. Start it with a profile:
#   snakemake --profile profiles/local                                  the whole study
#   snakemake --profile profiles/local --configfile config/demo.yaml    the offline demo
# Rules hold wiring only; what a stage does is in workflow/tacolab/<stage>/.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

# Not unconditionally: Snakemake would merge a --configfile into it, arms and all.
if not workflow.overwrite_configfiles:

    configfile: str(Path(workflow.basedir) / "config/study.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/captions.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/timing.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    # Every keyed artefact, not only the report: a finished report would hide a missing model.
    input:
        files_of(*TARGETS),
        rules.report.output,
