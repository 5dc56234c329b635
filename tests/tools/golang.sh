# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# go_build MODULE-FOLDER OUT-FOLDER FLAGS... -- NAME=PACKAGE...: builds programs of a pinned module.

go_least=1.26.6 # what the modules' go lines ask for at most

use_go() {
    local have
    have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true)
    have=${have#go}
    if [ -z "$have" ] || [ "$(printf '%s\n' "$go_least" "$have" | sort -V | head -n 1)" != "$go_least" ]; then
        "$tools/fetch" go
        PATH=$("$tools/path" go):$PATH
    fi
    # GOFLAGS of the machine could change what is built.
    export PATH GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
}

go_build() {
    local module=$1 out=$2 flags=() item
    shift 2
    while [ "$1" != -- ]; do
        flags+=("$1")
        shift
    done
    shift
    [ -z "${LEASEHOLD_JOBS:-}" ] || flags+=(-p "$LEASEHOLD_JOBS")
    mkdir -p "$out"
    for item in "$@"; do
        (cd "$module" && go build -trimpath -buildvcs=false "${flags[@]}" -o "$out/${item%%=*}" "${item#*=}")
    done
}
