REPORT = PLAN.find("report")
FIGURES = [str(REPORT.folder / name) for name in layout.figure_files(PLAN.study)]
TABLES = [str(REPORT.folder / name) for name in layout.table_files(PLAN.study)]


rule report:
    # Not ancient: what was measured anew is drawn anew.
    input:
        [str(path) for artefact in REPORT.inputs.values() for path in artefact.files],
    output:
        page=report(str(REPORT.path), caption="../report/page.rst", category="Report"),
        figures=report(FIGURES, caption="../report/figure.rst", category="Figures"),
        tables=report(TABLES, caption="../report/table.rst", category="Tables"),
    log:
        f"results/logs/report/{REPORT.key}.log",
    params:
        fingerprint=[fingerprint.report(), fingerprint.metrics()],
    message:
        "drawing figures, tables and page"
    shell:
        "tacolab report --config {CONFIG} --key {REPORT.key} > {log} 2>&1"
