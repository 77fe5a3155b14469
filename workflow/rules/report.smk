REPORT = PLAN.find("report")


rule report:
    input:
        shown(REPORT),
    output:
        page=str(REPORT.path),
        figures=report(
            inside(REPORT, layout.figure_files(PLAN.study)),
            caption="../report/figures.rst",
            category="Rate-distortion figures",
        ),
        tables=report(
            inside(REPORT, layout.table_files(PLAN.study)),
            caption="../report/tables.rst",
            category="Tables",
        ),
    log:
        f"results/logs/report/{REPORT.key}.log",
    conda:
        "../../envs/report.yaml"
    message:
        "drawing figures, tables and page"
    shell:
        "tacolab report --config {CONFIG} --key {REPORT.key} > {log} 2>&1"


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
        "tacolab report --now --config {CONFIG} > {log} 2>&1"
