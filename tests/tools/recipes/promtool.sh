# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Prometheus' own judge of alert rules, out of Debian's package: unpacked only, since an installation starts a server.
# Not pinned, as the other packages of scripts/install-packages are not: apt verifies what it gets.

get() {
    local product=$1 apt=(apt-get -qq -o APT::Sandbox::User=root)
    "${apt[@]}" download prometheus || { "${apt[@]}" update && "${apt[@]}" download prometheus; }
    dpkg-deb -x prometheus_*.deb unpacked
    mkdir "$product/bin"
    mv unpacked/usr/bin/promtool "$product/bin/"
    "$product/bin/promtool" --version
}
