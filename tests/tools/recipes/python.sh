# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# A virtual environment for the tests that are written in Python.

inputs=("$tools/python.txt")
facts=("$("$system_python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')")

get() {
    local product=$1 final=$2
    "$system_python" -m venv "$product"
    "$product/bin/pip" install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r "$tools/python.txt"
    # The scripts' first lines name the folder they were made in.
    grep -rlI -F "$product" "$product/bin" "$product/pyvenv.cfg" | xargs sed -i "s|$product|$final|g"
}
