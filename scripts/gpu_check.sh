#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one: the tests, then the benchmark, then one report.
#   bash scripts/gpu_check.sh [report, docs/gpu_report.md by default]
# Status 0 if all is well, 1 if a test failed (the report says which run), 2 without a GPU (there is no report then).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
report=${1:-docs/gpu_report.md}
bash scripts/bootstrap.sh
bin=$PWD/.venv/bin

say() { printf 'gpu_check: %s\n' "$*" >&2; }

if ! "$bin/python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    say "no GPU: $("$bin/python" -c 'import torch; print("torch", torch.__version__, "finds none")'). Nothing was tested or measured, and no report was written."
    exit 2
fi

unset TRITON_INTERPRET
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
outcomes=()

tests() {
    local name=$1
    shift
    say "$name"
    "$bin/pytest" -q "$@" 2>&1 | tee "$work/tests.txt" || status=1
    outcomes+=(--tests "$name" "$(tail -n 1 "$work/tests.txt" | tr -d '=|')")
}

tests "pytest -m gpu" -m gpu
tests "pytest tests/triton -m 'not gpu'" tests/triton -m "not gpu"

say "measuring (some minutes: torch.compile is among the contenders)"
"$bin/python" scripts/benchmark_gpu.py --json "$work/benchmark.json" --markdown "$work/report.md" "${outcomes[@]}"
mkdir -p "$(dirname -- "$report")"
mv -f "$work/report.md" "$report"
say "the report is $report"
exit "$status"
