#!/usr/bin/env bash
# Learns a policy: bash scripts/search.sh [overrides of `augrad search`], for example: bash scripts/search.sh seed=3
# Makes the environment first where it is missing. The results are in the directory that the search names at its end.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/bootstrap.sh"
exec "$root/.venv/bin/augrad" search "$@"
