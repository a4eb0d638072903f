#!/usr/bin/env bash
# Learns a policy: bash scripts/search.sh [overrides of `augrad search`], for example: bash scripts/search.sh seed=3
# Without data= or experiment= it shows what a search is for: the training digits are upright, those of validation and
# test are turned by up to 45 degrees (experiment=recover_rotation), and five trainings with each policy judge.
# Makes the environment first where it is missing. The results are in the directory that the search names at its end.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/bootstrap.sh"
[[ " $*" == *" data="* || " $*" == *" experiment="* ]] || set -- experiment=recover_rotation compare.seeds=5 "$@"
exec "$root/.venv/bin/augrad" search "$@"
