# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # up and down read these names
# What up and down share. Sourced with dir and prefix set.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
started=$(date +%s%N)

# What beds change on the machine itself is remembered here, by the first of them, and put back by the last.
machine=/run/leasehold-bed
mount_points=(/var/lib/kubelet /run/containerd /var/log/pods /var/log/containers)
# kubelet sets these.
sysctls=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys
    kernel/keys/root_maxbytes)

say() {
    local ms=$((($(date +%s%N) - started) / 1000000))
    printf '%4d.%03d %s\n' $((ms / 1000)) $((ms % 1000)) "$*"
}

# lock_machine: serialises changes to $machine until the shell ends or unlock_machine. The folder is its own lock file:
# one that would have to be removed again cannot be locked safely.
lock_machine() {
    exec 8</run
    flock 8
}
unlock_machine() { exec 8>&-; }
