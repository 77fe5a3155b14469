# Caption tables. Networks that describe images need torch and a GPU; all other sources need neither,
# but perhaps the internet.


rule captions:
    input:
        made_from("captions"),
    output:
        stage("captions").patterns,
    log:
        stage("captions").log,
    wildcard_constraints:
        source=named("source", "captions"),
    conda:
        "../../envs/captions.yaml"
    message:
        "captions of {wildcards.dataset} from source {wildcards.source}"
    shell:
        MAKE


rule describe:
    input:
        made_from("describe"),
    output:
        stage("describe").patterns,
    log:
        stage("describe").log,
    wildcard_constraints:
        source=named("source", "describe"),
    conda:
        "../../envs/train.yaml"
    message:
        "captions of {wildcards.dataset} by the network of source {wildcards.source}"
    shell:
        MAKE
