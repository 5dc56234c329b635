# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# A KMS v2 plugin on Kubernetes' own service package and grpc-go: modules/kms-foreign.

inputs=("$tools/modules/kms-foreign/go.mod" "$tools/modules/kms-foreign/go.sum" "$tools/modules/kms-foreign/main.go"
    "$tools/golang.sh")
# shellcheck source-path=SCRIPTDIR source=../golang.sh
. "$tools/golang.sh"

get() {
    local product=$1
    use_go
    go_build "$tools/modules/kms-foreign" "$product/bin" -ldflags "-s -w" -- kms-foreign=.
}
