# Rarity of words, from training captions alone; then a weight per token of each caption table.
# Trainings wait for both.


rule vocabulary:
    input:
        made_from("vocabulary"),
    output:
        stage("vocabulary").patterns,
    log:
        stage("vocabulary").log,
    priority: 10
    conda:
        "../../envs/nlp.yaml"
    message:
        "rarity of words in captions of {wildcards.dataset} from source {wildcards.source}"
    shell:
        MAKE


rule token_weights:
    input:
        made_from("token_weights"),
    output:
        stage("token_weights").patterns,
    log:
        stage("token_weights").log,
    priority: 10
    conda:
        "../../envs/nlp.yaml"
    message:
        "token weights of {wildcards.dataset}, captions from source {wildcards.source}"
    shell:
        MAKE
