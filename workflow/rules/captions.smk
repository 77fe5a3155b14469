rule captions:
    input:
        data=made_from("captions", "data"),
        own=made_from("captions", "own"),
    output:
        "results/captions/{dataset}/{source}/{key}.parquet",
        "results/captions/{dataset}/{source}/{key}.json",
    log:
        "results/logs/captions/{dataset}/{source}/{key}.log",
    conda:
        "../../envs/captions.yaml"
    message:
        "captions of {wildcards.dataset} from source {wildcards.source}"
    shell:
        "tacolab captions {wildcards.dataset} {wildcards.source} --config {CONFIG}"
        " --key {wildcards.key} 2> {log}"
