# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# containerd, its shim and ctr. Unpacked from Debian testing, which takes seconds, as long as testing still has the
# version pinned here; built from the pinned module otherwise, which takes minutes.

deb_version=2.1.9+ds1-5
deb_sha256_amd64=2dda86ce7033fd612fc50e136679d8174ccad680eb29cd4611e0d2a1b84cf591
suite=forky
programs=(containerd containerd-shim-runc-v2 ctr)

inputs=("$tools/modules/containerd/go.mod" "$tools/modules/containerd/go.sum" "$tools/golang.sh")
# shellcheck source-path=SCRIPTDIR source=../golang.sh
. "$tools/golang.sh"

# Unpacked only: an installation would pull in testing's C library. apt verifies the signature.
from_debian() {
    local mirror apt
    [ "$(dpkg --print-architecture)" = amd64 ] || return 1
    # shellcheck disable=SC2016 # the format's own variable
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
    [ -n "$mirror" ] || return 1
    mkdir -p lists/partial cache/archives/partial
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >sources.list
    apt=(apt-get -qq -o "Dir::Etc::sourcelist=$PWD/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State::lists=$PWD/lists" -o "Dir::Cache=$PWD/cache"
        -o APT::Sandbox::User=root)
    "${apt[@]}" update || return 1
    "${apt[@]}" download "containerd=$deb_version" || return 1
    [ "$(sha256sum <containerd_*.deb)" = "$deb_sha256_amd64  -" ] || return 1
    dpkg-deb -x containerd_*.deb unpacked
}

from_module() {
    local version package=github.com/containerd/containerd/v2
    version=$(awk '$1 == "github.com/containerd/containerd/v2" { print $2 }' "$tools/modules/containerd/go.mod")
    use_go
    go_build "$tools/modules/containerd" "$1" -tags 'no_btrfs no_devmapper no_zfs' \
        -ldflags "-s -w -X $package/version.Version=${version#v}" -- \
        containerd=$package/cmd/containerd containerd-shim-runc-v2=$package/cmd/containerd-shim-runc-v2 \
        ctr=$package/cmd/ctr
}

get() {
    local product=$1 program
    mkdir "$product/bin"
    if from_debian; then
        for program in "${programs[@]}"; do
            mv "unpacked/usr/bin/$program" "$product/bin/"
        done
    else
        from_module "$product/bin"
    fi
    "$product/bin/containerd" --version
}
