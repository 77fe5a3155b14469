# A model is trained, or a weight file of others is imported: the arm says which.


rule train:
    input:
        data=made_from("train", "data"),
        captions=made_from("train", "captions"),
        weights=made_from("train", "weights"),
    output:
        "results/models/{arm}/{lmbda}/{seed}/{key}/model.safetensors",
        "results/models/{arm}/{lmbda}/{seed}/{key}/model.json",
    log:
        "results/logs/train/{arm}/{lmbda}/{seed}/{key}.log",
    wildcard_constraints:
        arm=any_of(arm for arm, how in PLAN.study.arms.items() if not how.checkpoints),
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
        "tacolab train {wildcards.arm} {wildcards.lmbda} --seed {wildcards.seed}"
        " --config {CONFIG} --key {wildcards.key} --threads {threads}"
        " --attempt {resources.attempt} --stage-to={resources.stage_to:q} 2> {log}"


rule imported:
    output:
        "results/models/{arm}/{lmbda}/{seed}/{key}/model.safetensors",
        "results/models/{arm}/{lmbda}/{seed}/{key}/model.json",
    log:
        "results/logs/train/{arm}/{lmbda}/{seed}/{key}.log",
    wildcard_constraints:
        arm=any_of(arm for arm, how in PLAN.study.arms.items() if how.checkpoints),
    conda:
        "../../envs/train.yaml"
    message:
        "importing the weights of {wildcards.arm} at lambda {wildcards.lmbda}"
    shell:
        "tacolab train {wildcards.arm} {wildcards.lmbda} --seed {wildcards.seed}"
        " --config {CONFIG} --key {wildcards.key} 2> {log}"
