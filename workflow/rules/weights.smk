# Rarity of words, from training captions alone; then a weight per token of each caption table.


rule vocabulary:
    input:
        captions=made_from("vocabulary", "captions"),
    output:
        "results/weights/{dataset}/{source}/{key}.vocabulary.json",
    log:
        "results/logs/vocabulary/{dataset}/{source}/{key}.log",
    # Trainings wait for it.
    priority: 10
    conda:
        "../../envs/nlp.yaml"
    message:
        "rarity of words in captions of {wildcards.dataset} from source {wildcards.source}"
    shell:
        "tacolab weights {wildcards.dataset} {wildcards.source} --step vocabulary"
        " --config {CONFIG} --key {wildcards.key} 2> {log}"


rule weights:
    input:
        captions=made_from("weights", "captions"),
        vocabulary=made_from("weights", "vocabulary"),
    output:
        "results/weights/{dataset}/{source}/{key}.parquet",
        "results/weights/{dataset}/{source}/{key}.json",
    log:
        "results/logs/weights/{dataset}/{source}/{key}.log",
    priority: 10
    conda:
        "../../envs/nlp.yaml"
    message:
        "token weights of {wildcards.dataset}, captions from source {wildcards.source}"
    shell:
        "tacolab weights {wildcards.dataset} {wildcards.source} --step weights"
        " --config {CONFIG} --key {wildcards.key} --threads {threads} 2> {log}"
