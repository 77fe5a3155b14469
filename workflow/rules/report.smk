# Without wildcards, so that `snakemake report` may name it.
REPORT = PLAN.find("report")


# A link to a folder that is drawn anew beside the old one, so that a failure leaves the old.
rule report:
    input:
        made_from("report"),
    output:
        report(
            directory(str(REPORT.folder)),
            patterns=["{kind,figures|tables}/{file}"],
            category=lambda wildcards: {
                "figures": "Rate-distortion figures",
                "tables": "Tables",
            }[wildcards.kind],
            caption="../report/files.rst",
        ),
    log:
        f"results/logs/report/{REPORT.key}.log",
    conda:
        "../../envs/report.yaml"
    message:
        "drawing figures, tables and page"
    shell:
        MAKE


# Of what is there, before all is done. Never asked for by another rule, so it always runs.
rule report_now:
    log:
        "results/logs/report/now.log",
    localrule: True
    conda:
        "../../envs/report.yaml"
    message:
        "a report of what is there: results/report/now/index.html"
    shell:
        "{TACOLAB:q} report --now --config {CONFIG} > {log} 2>&1"
