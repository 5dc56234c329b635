# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# csi-sanity: the conformance tests of CSI drivers.

inputs=("$tools/modules/csi-sanity/go.mod" "$tools/modules/csi-sanity/go.sum" "$tools/golang.sh")
# shellcheck source-path=SCRIPTDIR source=../golang.sh
. "$tools/golang.sh"

get() {
    local product=$1
    use_go
    go_build "$tools/modules/csi-sanity" "$product/bin" -ldflags "-s -w" -- \
        csi-sanity=github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity
}
