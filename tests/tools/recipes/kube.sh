# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# The programs of Kubernetes and etcd, from the module that modules/kube pins.

inputs=("$tools/modules/kube/go.mod" "$tools/modules/kube/go.sum" "$tools/golang.sh")
# shellcheck source-path=SCRIPTDIR source=../golang.sh
. "$tools/golang.sh"

get() {
    local product=$1 version major minor package ldflags="-s -w"
    use_go
    version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$tools/modules/kube/go.mod")
    IFS=. read -r major minor _ <<<"${version#v}"
    # Without these the programs call themselves v0.0.0, and clients that compare versions misbehave.
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        ldflags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
        ldflags+=" -X $package.gitTreeState=clean -X $package.buildDate=2026-01-01T00:00:00Z"
    done
    go_build "$tools/modules/kube" "$product/bin" -ldflags "$ldflags" -- etcd=go.etcd.io/etcd/server/v3 \
        kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver kubelet=k8s.io/kubernetes/cmd/kubelet \
        kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager \
        kube-scheduler=k8s.io/kubernetes/cmd/kube-scheduler kube-proxy=k8s.io/kubernetes/cmd/kube-proxy \
        kubectl=k8s.io/kubernetes/cmd/kubectl
    "$product/bin/kubectl" version --client
}
