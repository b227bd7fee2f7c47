# Run a host's systemd-nspawn, the command given, for as long as the host reboots. In a mount namespace of its own.
# HOST_GROUPS: the host's control groups, where they are of cgroup v1.
set -e

# What nspawn keeps about machines goes with the mount namespace; and it lets a host reboot only where that lies in
# memory, which /run of a machine need not.
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 kubestage /run/systemd/nspawn

# cgroup v2: a group with groups in it can hold no process, so this shell and each boot get one of their own, and nspawn
# makes the host's in that.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
    mkdir "$own/watch"
    echo 0 >"$own/watch/cgroup.procs"
    for controller in $(cat "$own/cgroup.controllers"); do
        echo "+$controller" >"$own/cgroup.subtree_control"
    done
fi

# 133: the host wants to be started again (systemd-nspawn(1), --keep-unit).
boot=0
code=133
while [ "$code" = 133 ]; do
    boot=$((boot + 1))
    code=0

    # A machine that boots has no control groups: a kubelet would look for the containers of all that the last boot has
    # left, 3 s each. cgroup v1: they are the host's own; they can be removed a moment after their processes have ended.
    tries=0
    until [ -z "$HOST_GROUPS" ] || find $HOST_GROUPS -mindepth 1 -depth -type d -exec rmdir {} +; do
        tries=$((tries + 1))
        [ "$tries" -lt 500 ]
        sleep 0.02
    done
    (
        if [ -n "$own" ]; then
            mkdir "$own/boot-$boot"
            echo 0 >"$own/boot-$boot/cgroup.procs"
        fi
        exec "$@"
    ) || code=$?
done
