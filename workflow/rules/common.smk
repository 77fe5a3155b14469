# What all rules share: the plan of the present config, and how rules ask it.
import atexit
import os
import re
import sys
from pathlib import Path

from tacolab import config as configuration
from tacolab.cluster import head
from tacolab.errors import UserError, shortened
from tacolab.files import disk, process
from tacolab.plan import RESULTS, Plan, leftovers, snapshots
from tacolab.plan.stages import stage
from tacolab.stages.data.sources import check_sources
from tacolab.stages.report import latest

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
        head.check_folder(CODE)
        head.check_notes()
except (UserError, disk.RefusedError) as error:
    # A WorkflowError would bury the line under the place in this file.
    print(f"tacolab: {shortened(error)}", file=sys.stderr)
    sys.exit(2 if isinstance(error, UserError) else 1)

# Config and code as they are now, for jobs. Written at the start, for a dry run writes nothing.
CONFIG = snapshots.config_path(MERGED)
if workflow.is_main_process:
    os.environ["TACOLAB_CODE"] = str(snapshots.code_path().resolve())
    # Of the jobs' own Snakemake, too: a training that is queued again for weeks would otherwise
    # read the YAML of the day, and end at a typo or a lambda that is no longer asked for.
    workflow.config_settings.configfiles = [CONFIG.resolve()]
    # It is in there; and a variable in data_root may be another one on a node.
    workflow.config_settings.config_args = []
else:
    CONFIG = Path(workflow.configfiles[0])  # as the head has written it
    # Jobs on a cluster live on without their head, and get its environment.
    os.environ.pop(process.HEAD, None)

# Python of this environment, also where nobody activated it.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"]]
)
# With --sdm conda a rule's environment must come before all these. Conda would put it where the
# active one stands, if it knew of one.
os.environ.pop("CONDA_SHLVL", None)

# Every rule's command: of that code by its whole path, so that no other can be taken for it.
TACOLAB = str(Path(os.environ.get("TACOLAB_CODE", CODE)) / "workflow/bin/tacolab")
MAKE = "{TACOLAB:q} make {output} --config {CONFIG} --threads {threads} 2> {log}"

# Files of what the study asks for by itself.
WANTED = [
    path
    for artefact in PLAN
    if artefact.stage.wanted
    for path in (
        [artefact.folder] if artefact.stage.name == "report" else artefact.files
    )
]


onstart:
    # Not in the nested Snakemake of a job.
    if workflow.is_main_process:
        try:
            snapshots.keep_config(MERGED)
            snapshots.keep_code()
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


def named(wildcard, *stages):
    """A wildcard's pattern: what artefacts of these stages (or of any) are named."""
    artefacts = PLAN.every(*map(stage, stages)) if stages else PLAN
    return any_of(a.names[wildcard] for a in artefacts if wildcard in a.names)


wildcard_constraints:
    key="[0-9a-f]{8}",
    lmbda="[0-9.]+",
    seed="[0-9]+",
    dataset="[^/]+",
    source="[^/]+",
    arm="[^/]+",
    # Not any name: own.distribution.json is no summary of a control "own.distribution".
    control=named("control"),
    machine="[^/]+",


def made_from(name):
    """Input function: the files of an artefact's inputs.

    They are `ancient`: the path says what made them; time stamps, and a job that makes one again,
    say nothing, but would schedule days of training. What is there needs no input at all: with
    `ancient` alone, a packed data set that was deleted and is made again would.
    """

    def files(wildcards):
        artefact = PLAN.find(name, **wildcards)
        return [] if artefact.done else ancient([str(path) for path in artefact.reads])

    return files


def begun_first(wildcards):
    """Priority of a training. They are the longest jobs, which would otherwise end up alone at the
    end. A begun one may run in a job of an earlier head: its new job takes over that GPU, and any
    other would hold one more than is allowed.
    """
    state = PLAN.find("train", **wildcards).folder / "state"
    return 20 if state.exists() else 10
