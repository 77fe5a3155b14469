#!/usr/bin/env bash
# By hand: the golden streams on an emulated 64-bit Arm processor (docs/performance.md).
#   tests/arm.sh FOLDER      as root on Debian; fetches 400 MB into FOLDER, then takes a minute
set -euo pipefail
tests=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
mkdir -p lists/partial packages root wheels site
apt-get install -y -qq qemu-user-static
arm="-oAPT::Architecture=arm64 -oAPT::Architectures=arm64 -oDir::State::Lists=$PWD/lists"
apt-get $arm update -qq
(cd packages && apt-get $arm download -qq python3.11 python3.11-minimal libpython3.11-stdlib \
  libpython3.11-minimal libc6 libexpat1 zlib1g libssl3 libffi8 libstdc++6 libgcc-s1 libgomp1 \
  libbz2-1.0 liblzma5 libffi8 libuuid1 libcrypt1 media-types)
for package in packages/*.deb; do dpkg -x "$package" root; done
# Another torch than the lock's on purpose: the streams shall not depend on it.
"$tests/../.venv/bin/python" -m pip download -q -d wheels --no-deps --only-binary=:all: \
  --python-version 3.11 --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
  torch==2.9.1 numpy==1.26.4 numba==0.68.1 llvmlite==0.50.0 typing_extensions sympy mpmath \
  networkx jinja2 markupsafe filelock fsspec
for wheel in wheels/*.whl; do unzip -qo "$wheel" -d site; done
PYTHONPATH="$tests/../workflow:$tests/unit/codec:$PWD/site" NUMBA_CACHE_DIR="$PWD/cache" \
  qemu-aarch64-static -L root root/usr/bin/python3.11 "$tests/unit/codec/golden_latents.py" |
  cmp - "$tests/unit/codec/golden_streams.json" && echo "equal to the byte on $(uname -s) aarch64"
