# Caption tables. Networks that describe images need torch and a GPU; all other sources need neither,
# but perhaps the internet. The plan says which rule fits a source.


rule captions:
    input:
        data=made_from("captions", "data"),
        own=made_from("captions", "own"),
    output:
        "results/captions/{dataset}/{source}/{key}.parquet",
        "results/captions/{dataset}/{source}/{key}.json",
    log:
        "results/logs/captions/{dataset}/{source}/{key}.log",
    wildcard_constraints:
        source=other_sources(Ofa, HuggingFace),
    conda:
        "../../envs/captions.yaml"
    message:
        "captions of {wildcards.dataset} from source {wildcards.source}"
    shell:
        "tacolab captions {wildcards.dataset} {wildcards.source} --config {CONFIG}"
        " --key {wildcards.key} 2> {log}"


rule describe:
    input:
        data=made_from("captions", "data"),
    output:
        "results/captions/{dataset}/{source}/{key}.parquet",
        "results/captions/{dataset}/{source}/{key}.json",
    log:
        "results/logs/captions/{dataset}/{source}/{key}.log",
    wildcard_constraints:
        source=sources(Ofa, HuggingFace),
    conda:
        "../../envs/train.yaml"
    message:
        "captions of {wildcards.dataset} by the network of source {wildcards.source}"
    shell:
        "tacolab captions {wildcards.dataset} {wildcards.source} --config {CONFIG}"
        " --key {wildcards.key} --threads {threads} 2> {log}"
