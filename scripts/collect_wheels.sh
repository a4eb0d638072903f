#!/usr/bin/env bash
# Collects what augrad needs and a machine with PyTorch may lack, to be carried to one without a network:
#   bash scripts/collect_wheels.sh DIR [3.12, the version of the other machine's Python]
# There:  PYTHON=python3 AUGRAD_WHEELS=DIR bash scripts/gpu_check.sh
# The versions are those of constraints.txt; what is left out is listed in scripts/gpu_check.sh (PyTorch and its kin).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
folder=${1:?"usage: bash scripts/collect_wheels.sh DIR [version of Python, 3.12 by default]"}
version=${2:-3.12}
bash scripts/bootstrap.sh
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
mkdir -p "$folder"

platforms=()
for tag in manylinux_2_28 manylinux_2_17 manylinux2014; do platforms+=(--platform "${tag}_x86_64"); done
"${pip[@]}" download --no-deps --only-binary=:all: --python-version "$version" --implementation cp "${platforms[@]}" \
    -c constraints.txt -d "$folder" \
    hydra-core omegaconf pydantic pydantic-core annotated-types typing-inspection kornia kornia-rs beartype
"${pip[@]}" wheel --no-deps -c constraints.txt -w "$folder" antlr4-python3-runtime # there is a source archive only
printf 'collect_wheels: %s, for Python %s on x86-64 Linux\n' "$(du -sh "$folder" | tr '\t' ' ')" "$version" >&2
