# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# Our client and server on real grpc-go, of the version that kubelet has, and a KMS v2 plugin on it: modules/grpc-go.

inputs=("$tools"/modules/grpc-go/{go.mod,go.sum,main.go,load.go,kms/main.go,kms/transit.go} "$tools/golang.sh")
# shellcheck source-path=SCRIPTDIR source=../golang.sh
. "$tools/golang.sh"

get() {
    local product=$1
    use_go
    go_build "$tools/modules/grpc-go" "$product/bin" -ldflags "-s -w" -- grpc-go=. kms-go=./kms
}
