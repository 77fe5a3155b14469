# What all rules share: the plan of the present config, and how rules ask it.
import atexit
import os
import re
import sys
from pathlib import Path

from tacolab import config as configuration
from tacolab.files import disk, process
from tacolab.plan import fingerprint, leftovers
from tacolab.cluster import head
from tacolab.config import HuggingFace, Ofa
from tacolab.stages.data.sources import check_sources
from tacolab.errors import UserError
from tacolab.plan.keys import MODELS, RESULTS, TARGETS, Plan, snapshot, snapshot_path
from tacolab.stages.report import latest, origin

# `tacolab` of this checkout and Python of this environment, also where nobody activated it.
os.environ["PATH"] = os.pathsep.join(
    [
        str(Path(workflow.basedir) / "workflow/bin"),
        str(Path(sys.executable).parent),
        os.environ["PATH"],
    ]
)
# With --sdm conda a rule's environment must come before all these. Conda would put it where the
# active one stands, if it knew of one.
os.environ.pop("CONDA_SHLVL", None)

try:
    ORIGIN = " + ".join(os.path.relpath(path) for path in workflow.configfiles)
    if workflow.config_settings.config:
        ORIGIN += " + --config"
    # Not Snakemake's `config`: its YAML is 1.1 (020 is 16), and lets keys stand twice.
    MERGED = configuration.merged_by_snakemake(
        [Path(path) for path in workflow.configfiles],
        workflow.config_settings.config,
        ORIGIN,
    )
    PLAN = Plan(configuration.validate(MERGED, ORIGIN))
    check_sources(PLAN)
    if workflow.is_main_process:
        head.check_notes()
except (UserError, disk.RefusedError) as error:
    # A WorkflowError would bury the line under the place in this file.
    print(f"tacolab: {error}", file=sys.stderr)
    sys.exit(2 if isinstance(error, UserError) else 1)

# Merged from --configfile and --config. Written at the start, for a dry run writes nothing.
CONFIG = snapshot_path(MERGED)
if workflow.is_main_process:
    # Of the jobs' own Snakemake, too: a training that is queued again for weeks would otherwise
    # read the YAML of the day, and end at a typo or a lambda that is no longer asked for.
    workflow.config_settings.configfiles = [CONFIG.resolve()]
    # It is in there; and a variable in data_root may be another one on a node.
    workflow.config_settings.config_args = []
else:
    CONFIG = Path(workflow.configfiles[0])  # as the head has written it
    # Jobs on a cluster live on without their head, and get its environment.
    os.environ.pop(process.HEAD, None)

MEASURED = fingerprint.measured()


onstart:
    # Not in the nested Snakemake of a job.
    if workflow.is_main_process:
        try:
            snapshot(MERGED)
            head.start(RESULTS, workflow.dag)
            # Snakemake deletes before a job what is its output: of a report only a link.
            latest.adopt(PLAN.find("report").folder)
        except UserError as error:
            print(f"tacolab: {error}", file=sys.stderr)
            sys.exit(2)
        except OSError as error:
            print(
                f"tacolab: {disk.explained(error, RESULTS) or error}",
                file=sys.stderr,
            )
            sys.exit(1)
        tidy()


@atexit.register
def tidy():
    """At the start and at the end, also where nothing is made.

    After a job that failed nobody else restores a report's link, which was its output; and of a
    config that was taken back no rule links `report/latest`.
    """
    page = PLAN.find("report")
    if not (workflow.is_main_process and workflow.executor_plugin) or workflow.dryrun:
        return
    leftovers.sweep(PLAN)
    try:
        latest.stand(page.folder)
        if page.done:
            latest.lead(page.folder.with_name(latest.LATEST), page.folder)
    except (UserError, OSError) as error:
        print(f"tacolab: {disk.explained(error) or error}", file=sys.stderr)


def any_of(names):
    """A wildcard's pattern: one of these names, or nothing at all."""
    return "|".join(re.escape(name) for name in sorted(set(names))) or "(?!)"


wildcard_constraints:
    key="[0-9a-f]{8}",
    lmbda="[0-9.]+",
    seed="[0-9]+",
    dataset="[^/]+",
    source="[^/]+",
    arm="[^/]+",
    # Not any name: own.distribution.json is no summary of a control "own.distribution".
    control=any_of(a.names["control"] for a in PLAN if "control" in a.names),
    machine="[^/]+",


def sources(*kinds):
    """A pattern of the names of the caption sources of these kinds."""
    captions = PLAN.study.captions.items()
    return any_of(name for name, source in captions if isinstance(source, kinds))


def other_sources(*kinds):
    """A pattern of all other names."""
    return f"(?!(?:{sources(*kinds)})/)[^/]+"


def files_of(*stages):
    """The files of every artefact of these stages: half of them are not enough."""
    return [
        str(path)
        for artefact in PLAN
        if artefact.stage in stages
        for path in artefact.files
    ]


def inputs_of(artefact, paths):
    """Files of an artefact as inputs: `ancient`, unless it will be measured anew, by other code.

    Snakemake asks no job for its own reasons to run that follows one which runs: without an update
    of its inputs, FID would stay that of the old features.
    """
    anew = artefact.done and fingerprint.outdated(artefact, MEASURED)
    return paths if anew else ancient(paths)


def begun_first(wildcards):
    """Priority of a training. They are the longest jobs, which would otherwise end up alone at the
    end. A begun one may run in a job of an earlier head: its new job takes over that GPU, and any
    other would hold one more than is allowed.
    """
    state = PLAN.find("train", **wildcards).folder / "state"
    return 20 if state.exists() else 10


def run_anew(output):
    """Plan the job of a finished artefact, as --forcerun does.

    What made it stands beside it. Snakemake's own memory has nothing of a job that ended while no
    head lived, nor in a copy of results/, and takes a job that failed for one that was done.
    """
    workflow.dag.forcefiles.add(str(output))


def made_from(stage, role):
    """Input function: the files of one input of an artefact.

    Mostly `ancient`, for the key in the path says all; time stamps and "updated by another job" say
    nothing, but would schedule days of training. What is there and up to date needs no input at
    all: with `ancient` alone, a packed data set that was deleted and is made again would.
    """

    def files(wildcards):
        artefact = PLAN.find(stage, **wildcards)
        if artefact.done:
            if not fingerprint.outdated(artefact, MEASURED):
                return []
            run_anew(artefact.path)
        if role not in artefact.inputs:
            return []
        source = artefact.inputs[role]
        return inputs_of(source, [str(path) for path in source.files])

    return files


def shown(page):
    """Input function: files that the report reads. What is measured again, by force too, is shown
    again. Of a model only its description: a copy of results/ without weights still makes a report.
    """

    def files(wildcards):
        if page.done and origin.stale(page):
            run_anew(page.folder)
        # The output is a link, whose time stamp tells nothing; only --forcerun needs an update.
        forced = workflow.dag_settings.forcerun
        found = []
        for artefact in page.inputs.values():
            paths = [str(p) for p in artefact.files if p.suffix != ".safetensors"]
            if forced and artefact.stage not in MODELS:
                found += paths
            else:
                found += inputs_of(artefact, paths)
        return found

    return files
