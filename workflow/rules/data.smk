rule data:
    output:
        "results/data/{dataset}/{key}/manifest.json",
    log:
        "results/logs/data/{dataset}/{key}.log",
    conda:
        "../../envs/captions.yaml"
    message:
        "verifying and packing data set {wildcards.dataset}"
    shell:
        "tacolab data {wildcards.dataset} --config {CONFIG} --key {wildcards.key} 2> {log}"
