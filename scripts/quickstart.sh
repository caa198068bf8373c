#!/usr/bin/env bash
# A better calorimeter in ten minutes: environment, installation, main job, report.
# Further arguments are overrides: bash scripts/quickstart.sh seed=1 budget.steps=50
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install ""
exec "$VENV/bin/mode-opt" optimise detector=sampling_calorimeter simulator=surrogate "$@"
