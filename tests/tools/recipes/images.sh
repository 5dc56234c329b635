# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # lib.sh sets and reads these names
# Two images for the test cluster, made here because no registry is needed then: local.test/pause:1 (the sandbox) and
# local.test/tool:1 (a busybox).

inputs=("$tools/images/pause.c" "$tools/../cluster/bed/mkimage")
facts=("$(dpkg-query -W -f '${Version}' busybox-static 2>/dev/null || true)")

get() {
    local product=$1 applet
    mkdir -p "$product/bin" pause tool/{bin,etc,tmp}
    gcc -static -Os -s -o pause/pause "$tools/images/pause.c"
    "${inputs[1]}" local.test/pause:1 pause "$product/bin/pause.tar" '["/pause"]'

    for applet in $(/bin/busybox --list); do
        ln -s busybox "tool/bin/$applet"
    done
    rm -f tool/bin/busybox
    cp /bin/busybox tool/bin/
    chmod 1777 tool/tmp
    printf 'root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n' >tool/etc/passwd
    "${inputs[1]}" local.test/tool:1 tool "$product/bin/tool.tar"
}
