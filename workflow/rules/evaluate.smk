# Coding is expensive and keyed; metrics are cheap and carry the fingerprint of their sources.


rule code:
    input:
        model=made_from("code", "model"),
        data=made_from("code", "data"),
        captions=made_from("code", "captions"),
        weights=made_from("code", "weights"),
    output:
        "results/codes/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}/codes.parquet",
        "results/codes/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}/streams.zip",
        "results/codes/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}/codes.json",
    log:
        "results/logs/code/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}.log",
    conda:
        "../../envs/train.yaml"
    message:
        "coding {wildcards.dataset} by {wildcards.arm} at lambda {wildcards.lmbda}"
        " (captions: {wildcards.control})"
    shell:
        "tacolab evaluate {wildcards.arm} {wildcards.lmbda} {wildcards.dataset}"
        " --control {wildcards.control} --seed {wildcards.seed} --step code"
        " --config {CONFIG} --key {wildcards.key} --threads {threads} 2> {log}"


rule metrics:
    input:
        codes=made_from("metrics", "codes"),
        model=made_from("metrics", "model"),
        data=made_from("metrics", "data"),
    output:
        "results/evaluation/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}.parquet",
        "results/evaluation/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}.json",
        "results/evaluation/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}.examples.zip",
    log:
        "results/logs/metrics/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}.log",
    conda:
        "../../envs/train.yaml"
    message:
        "measuring {wildcards.dataset} by {wildcards.arm} at lambda {wildcards.lmbda}"
        " (captions: {wildcards.control})"
    shell:
        "tacolab evaluate {wildcards.arm} {wildcards.lmbda} {wildcards.dataset}"
        " --control {wildcards.control} --seed {wildcards.seed} --step metrics"
        " --config {CONFIG} --key {wildcards.key} --threads {threads} 2> {log}"


rule originals:
    input:
        data=made_from("originals", "data"),
    output:
        "results/evaluation/originals/{dataset}/{key}.safetensors",
        "results/evaluation/originals/{dataset}/{key}.json",
    log:
        "results/logs/originals/{dataset}/{key}.log",
    conda:
        "../../envs/train.yaml"
    message:
        "features of the originals of {wildcards.dataset}, for FID and CMMD"
    shell:
        "tacolab originals {wildcards.dataset} --config {CONFIG}"
        " --key {wildcards.key} --threads {threads} 2> {log}"


rule distribution:
    input:
        codes=made_from("distribution", "codes"),
        originals=made_from("distribution", "originals"),
        model=made_from("distribution", "model"),
        data=made_from("distribution", "data"),
    output:
        "results/evaluation/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}.distribution.json",
    log:
        "results/logs/distribution/{arm}/{lmbda}/{seed}/{key}/{dataset}/{control}.log",
    conda:
        "../../envs/train.yaml"
    message:
        "FID and CMMD of {wildcards.dataset} by {wildcards.arm} at lambda {wildcards.lmbda}"
        " (captions: {wildcards.control})"
    shell:
        "tacolab evaluate {wildcards.arm} {wildcards.lmbda} {wildcards.dataset}"
        " --control {wildcards.control} --seed {wildcards.seed} --step distribution"
        " --config {CONFIG} --key {wildcards.key} --threads {threads} 2> {log}"


rule anchors:
    input:
        data=made_from("anchors", "data"),
    output:
        "results/evaluation/anchors/{dataset}/{codec}/{key}.parquet",
        "results/evaluation/anchors/{dataset}/{codec}/{key}.json",
    log:
        "results/logs/anchors/{dataset}/{codec}/{key}.log",
    conda:
        "../../envs/train.yaml"
    message:
        "measuring {wildcards.codec} on {wildcards.dataset}"
    shell:
        "tacolab anchors {wildcards.dataset} {wildcards.codec} --config {CONFIG}"
        " --key {wildcards.key} --threads {threads} 2> {log}"
