# A model is trained, or a checkpoint of others is imported: the arm says which.


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
        f"{MAKE} --attempt {{resources.attempt}} --stage-to={{resources.stage_to:q}}"


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
