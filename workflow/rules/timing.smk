# Times on one machine. Needs no data and no model; nothing else should run beside it.


rule timing:
    output:
        "results/timing/{machine}/{key}.parquet",
        "results/timing/{machine}/{key}.json",
    log:
        "results/logs/timing/{machine}/{key}.log",
    conda:
        "../../envs/train.yaml"
    message:
        "timing the codec on {wildcards.machine}"
    shell:
        "tacolab timing {wildcards.machine} --config {CONFIG} --key {wildcards.key}"
        " --threads {threads} 2> {log}"
