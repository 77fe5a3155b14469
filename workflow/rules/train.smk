# A model is trained, or a checkpoint of others is imported: the arm says which.


def begun_first(wildcards):
    """Priority of a training. They are the longest jobs, which would otherwise end up alone at the
    end. A begun one may run in a job of an earlier head: its new job takes over that GPU, and any
    other would hold one more than is allowed.
    """
    state = PLAN.find("train", **wildcards).folder / "state"
    return 20 if state.exists() else 10


rule train:
    input:
        made_from("train"),
    output:
        stage("train").patterns,
    log:
        stage("train").log,
    wildcard_constraints:
        arm=named("arm", "train"),
    priority: begun_first
    conda:
        "../../envs/train.yaml"
    resources:
        # Snakemake's own retries must not revive what a person cancelled.
        attempt=lambda wildcards, attempt: attempt,
        # Of the profile: where to copy the packed data.
        stage_to="",
    # Checkpoints are no output: Snakemake deletes the outputs of a job before it runs.
    params:
        state="results/models/{arm}/{lmbda}/{seed}/{key}/state",
    message:
        "training {wildcards.arm} at lambda {wildcards.lmbda}, seed {wildcards.seed}"
        " (progress in {params.state}/train.log)"
    shell:
        MAKE + " --attempt {resources.attempt} --stage-to={resources.stage_to:q}"


rule imported:
    output:
        stage("imported").patterns,
    log:
        stage("imported").log,
    wildcard_constraints:
        arm=named("arm", "imported"),
    conda:
        "../../envs/train.yaml"
    message:
        "importing the weights of {wildcards.arm} at lambda {wildcards.lmbda}"
    shell:
        MAKE
