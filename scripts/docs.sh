#!/usr/bin/env bash
# Builds the documentation in site/:  bash scripts/docs.sh [arguments of `mkdocs build`], for example: -d DIR
# Shows it while it is written:       bash scripts/docs.sh serve [arguments of `mkdocs serve`], for example: -a localhost:8001
# Makes the environment first where it is missing. A link that leads nowhere, or any other warning, ends a build with status 1.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
bash scripts/bootstrap.sh
command=build
case ${1:-} in
    build | serve | gh-deploy | get-deps | new)
        command=$1
        shift
        ;;
    -h | --help | -V | --version) exec .venv/bin/python -m mkdocs "$@" ;;
esac
options=()
if [ "$command" = build ]; then options=(--strict); fi
# Material announces with a warning that a MkDocs 2 may come; constraints.txt holds MkDocs 1.
export NO_MKDOCS_2_WARNING=true
exec .venv/bin/python -m mkdocs "$command" ${options[@]+"${options[@]}"} "$@"
