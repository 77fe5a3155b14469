REPORT = PLAN.find("report")
# Of a model only its description: a copy of results/ without weights still makes a report.
SHOWN = [
    str(path)
    for artefact in REPORT.inputs.values()
    for path in artefact.files
    if path.suffix != ".safetensors"
]


def in_report(names):
    return [str(REPORT.folder / name) for name in names]


rule report:
    # Not ancient: what was measured anew is drawn anew.
    input:
        SHOWN,
    output:
        page=str(REPORT.path),
        figures=report(
            in_report(layout.figure_files(PLAN.study)),
            caption="../report/figures.rst",
            category="Rate-distortion figures",
        ),
        tables=report(
            in_report(layout.table_files(PLAN.study)),
            caption="../report/tables.rst",
            category="Tables",
        ),
    log:
        f"results/logs/report/{REPORT.key}.log",
    params:
        fingerprint=[fingerprint.report(), fingerprint.metrics()],
    message:
        "drawing figures, tables and page"
    shell:
        "tacolab report --config {CONFIG} --key {REPORT.key} > {log} 2>&1"
