rule data:
    output:
        stage("data").patterns,
    log:
        stage("data").log,
    conda:
        "../../envs/captions.yaml"
    message:
        "verifying and packing data set {wildcards.dataset}"
    shell:
        MAKE
