#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one, in at most eight minutes, and one report of it all.
#   bash scripts/gpu_check.sh [report, docs/gpu_report.md by default] [options of scripts/gpu_check.py]
# Without a network: PYTHON names an interpreter that has PyTorch, torchvision, Triton, Numba, scikit-learn, Matplotlib,
# Jinja2, rich, PyYAML, Pillow, jaxtyping, pytest and hypothesis, and AUGRAD_WHEELS a folder with the rest
# (bash scripts/collect_wheels.sh makes it). They are unpacked beside that interpreter's packages, which stay as they are.
# Status 0 if all is well, 1 if a part failed (the report says which), 2 without a GPU (there is no report then).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
report=docs/gpu_report.md
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    report=$1
    shift
fi

if [ -n "${AUGRAD_WHEELS:-}" ]; then
    python=${PYTHON:-python3}
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$site" \
        "$AUGRAD_WHEELS"/*.whl
    export PYTHONPATH="$PWD/lib:$site${PYTHONPATH:+:$PYTHONPATH}"
else
    bash scripts/bootstrap.sh
    python=$PWD/.venv/bin/python
fi
"$python" scripts/gpu_check.py --report "$report" "$@"
