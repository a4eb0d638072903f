#!/usr/bin/env bash
# Every check, then the whole test suite: bash scripts/test.sh [arguments of pytest], for example: -k policy
# Makes the environment first where it is missing. A check that fails does not keep the tests from running, but the
# status is not 0. AUGRAD_SKIP_PYRIGHT=1 leaves out the type check, for a machine on which pyright cannot run.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
bash scripts/bootstrap.sh
bin=$PWD/.venv/bin
status=0

check() {
    local name=$1
    shift
    printf '== %s\n' "$name"
    "$@" || { status=1; printf 'test.sh: %s FAILED (see above)\n' "$name" >&2; }
}

type_check() {
    # pyright itself and the Node.js it runs in come as wheels, so this asks no network.
    if ! PYRIGHT_PYTHON_IGNORE_WARNINGS=1 "$bin/pyright" --version >/dev/null; then
        printf 'test.sh: pyright cannot run on this machine. AUGRAD_SKIP_PYRIGHT=1 bash scripts/test.sh leaves it out.\n' >&2
        return 1
    fi
    PYRIGHT_PYTHON_IGNORE_WARNINGS=1 "$bin/pyright" --pythonpath "$bin/python"
}

check "ruff check" "$bin/ruff" check --output-format concise .
check "ruff format --check" "$bin/ruff" format --check .
if [ "${AUGRAD_SKIP_PYRIGHT:-}" = 1 ]; then
    echo "== pyright: left out (AUGRAD_SKIP_PYRIGHT=1)"
else
    check "pyright" type_check
fi
check "import layers" "$bin/lint-imports"

# Two workers, unless the caller says how many, or that there are none (also to debug: --pdb needs a single process).
workers=(-n 2)
for argument in "$@"; do
    case $argument in
        -n | -n[0-9]* | -nauto | -nlogical | --numprocesses | --numprocesses=* | no:xdist | -pno:xdist | --pdb | --trace) workers=() ;;
    esac
done
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
echo "== pytest"
"$bin/pytest" ${workers[@]+"${workers[@]}"} "$@" || status=$?
exit "$status"
