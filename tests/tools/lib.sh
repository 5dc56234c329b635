# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Where a fetched tool lives. Sourced by fetch and path. A tool's folder carries a key made of everything that pins
# it, its recipe included, so that a changed pin is a new folder and an old one is never changed.

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LEASEHOLD_CACHE:-$HOME/.cache/leasehold}
# The system's own Python: a version manager's one may vanish under a virtual environment.
system_python=/usr/bin/python3
[ -x "$system_python" ] || system_python=python3

all_tools=(python bao helm images containerd kube grpc-go kms-foreign csi-sanity promtool)

die() {
    echo "fetch: $*" >&2
    exit 1
}

# load_recipe NAME: defines pins, inputs (files), facts (strings) and get().
load_recipe() {
    [ -f "$tools/recipes/$1.sh" ] || die "no tool is named '$1'; there are: ${all_tools[*]} go"
    inputs=()
    facts=()
    # shellcheck source=/dev/null
    . "$tools/recipes/$1.sh"
}

# tool_dir NAME: prints the folder of the tool as pinned now, whether or not it is there.
tool_dir() (
    load_recipe "$1"
    key=$({
        uname -m
        printf '%s\n' ${facts[@]+"${facts[@]}"}
        cat "$tools/recipes/$1.sh" ${inputs[@]+"${inputs[@]}"}
    } | sha256sum)
    echo "$cache/$1-${key:0:12}"
)

# check_digest ALGORITHM WANTED FILE
check_digest() {
    local got
    got=$(openssl dgst "-$1" -r "$3")
    [ "${got%% *}" = "$2" ] || die "$(basename "$3"): $1 is ${got%% *}, pinned is $2"
}
