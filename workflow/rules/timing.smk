# Times on one machine. Needs no data and no model; nothing else should run beside it.


rule timing:
    output:
        stage("timing").patterns,
    log:
        stage("timing").log,
    conda:
        "../../envs/train.yaml"
    message:
        "timing the codec on {wildcards.machine}"
    shell:
        MAKE
