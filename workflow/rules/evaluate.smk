# Coding is dear, and its code counts by a RECIPE number; what is measured carries the code in its key.


rule code:
    input:
        made_from("code"),
    output:
        stage("code").patterns,
    log:
        stage("code").log,
    conda:
        "../../envs/train.yaml"
    message:
        "coding {wildcards.dataset} by {wildcards.arm} at lambda {wildcards.lmbda}"
        " (captions: {wildcards.control})"
    shell:
        MAKE


rule metrics:
    input:
        made_from("metrics"),
    output:
        stage("metrics").patterns,
    log:
        stage("metrics").log,
    conda:
        "../../envs/train.yaml"
    message:
        "measuring {wildcards.dataset} by {wildcards.arm} at lambda {wildcards.lmbda}"
        " (captions: {wildcards.control})"
    shell:
        MAKE


rule originals:
    input:
        made_from("originals"),
    output:
        stage("originals").patterns,
    log:
        stage("originals").log,
    conda:
        "../../envs/train.yaml"
    message:
        "features of the originals of {wildcards.dataset}, for FID and CMMD"
    shell:
        MAKE


rule distribution:
    input:
        made_from("distribution"),
    output:
        stage("distribution").patterns,
    log:
        stage("distribution").log,
    conda:
        "../../envs/train.yaml"
    message:
        "FID and CMMD of {wildcards.dataset} by {wildcards.arm} at lambda {wildcards.lmbda}"
        " (captions: {wildcards.control})"
    shell:
        MAKE


rule anchors:
    input:
        made_from("anchors"),
    output:
        stage("anchors").patterns,
    log:
        stage("anchors").log,
    conda:
        "../../envs/train.yaml"
    message:
        "measuring {wildcards.codec} on {wildcards.dataset}"
    shell:
        MAKE
