# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# unpack_wheel REQUIREMENTS: downloads the one pinned wheel and unpacks it below ./wheel.
unpack_wheel() {
    "$tools/fetch" python
    "$("$tools/path" python)/pip" download --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r "$1" -d .
    mkdir wheel
    "$system_python" -m zipfile -e ./*.whl wheel
}
