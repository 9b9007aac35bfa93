#!/usr/bin/env bash
# Snakemake runs this once in the environment of spikereach.yaml, in the run folder: adds the
# package itself, from the checkout around that folder. Editable, so that changed code counts.
set -euo pipefail
checkout=${SPIKEREACH_CHECKOUT:-$PWD}
until [ -f "$checkout/src/spikereach/__init__.py" ]; do
    if [ "$checkout" = / ]; then
        echo "error: no checkout of spikereach around $PWD;" \
            "set SPIKEREACH_CHECKOUT to its absolute path" >&2
        exit 1
    fi
    checkout=$(dirname "$checkout")
done
# Here, wherever else the user has packages go.
unset PYTHONHOME PYTHONPATH
python -I -m pip install --quiet --no-user --target= --prefix="$CONDA_PREFIX" --root=/ \
    --no-deps --editable "$checkout"
