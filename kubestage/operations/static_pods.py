"""The control plane's static pods: manifests as kubeadm writes them, changed so that what worked comes back.

A change is one script in a systemd unit, as no run may end between a new manifest and the judgement on it. It renders
the manifests, asks each program whether it knows the flags that it is to get, keeps the manifests that work aside,
renames the new ones into place, and waits. When the API server, or another program of the change, does not serve with
them, the old ones are put back. A power cut on the way leaves the old ones aside: the next run goes on from there.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence

from pyinfra import host
from pyinfra.api import StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.facts.static_pods import MANIFESTS, RENDER, StaticPods
from kubestage.hidden import Hidden
from kubestage.kubernetes import (
    KUBEADM_CONFIG,
    KUBECTL,
    STATIC_PODS,
    STATIC_PODS_FILES,
    STATIC_PODS_FOLDER,
    STATIC_PODS_UNIT,
    STATIC_PODS_WORKED,
    static_pod_pid,
)
from kubestage.operations.transient import in_unit
from kubestage.render.kubeadm import keeps

# Shell functions that need RENDER.
_FUNCTIONS = (
    RENDER
    + r"""
files=@FILES@ manifests=@MANIFESTS@ work=@WORK@ wanted=@WORK@/wanted worked=@WORKED@

render() {  # all manifests into $wanted, as kubeadm writes them by its configuration
    rm -rf $wanted && mkdir -p $wanted &&
        kubeadm_renders @CONFIG@ $wanted control-plane all && kubeadm_renders @CONFIG@ $wanted etcd local
}
knows() {  # POD FLAG...: whether the program reads these flags, by the image of its new manifest
    image=$(sed -n 's/^ *image: *//p' $wanted/$1.yaml)
    ctr --namespace k8s.io tasks kill --signal KILL kubestage-flags >/dev/null 2>&1  # of a run that was killed
    ctr --namespace k8s.io containers delete kubestage-flags >/dev/null 2>&1
    # A program reads all of its flags before it prints its help, and ends at one that it can't read.
    said=$(ctr --namespace k8s.io run --rm "$image" kubestage-flags "$@" --help 2>&1 </dev/null) && return
    wrong=$(printf '%s\n' "$said" |
        grep -E 'unknown (shorthand )?flag|invalid (argument|value)|needs an argument|not defined' | sort -u)
    if [ -z "$wrong" ]; then
        echo "$1 could not be asked whether it knows its flags: $(printf '%s\n' "$said" | tail -n 1)"
        return 0  # then they are tried, and taken back
    fi
    echo "$1 of $image does not take its flags: $wrong"
    return 1
}
know_all() {
    known=yes
@KNOW_ALL@
    [ "$known" ]
}
log_of() {  # POD: the newest log of its container
    ls -t /var/log/pods/kube-system_$1-*/$1/*.log 2>/dev/null | head -n 1
}
last_lines() {  # POD
    newest=$(log_of $1)
    if [ -n "$newest" ]; then echo "The last lines of $1:"; tail -n 12 "$newest" | cut -d ' ' -f 4- | cut -c 1-500; fi
}
"""
)

_SCRIPT = r"""
pid_of() {
    @PID@
}
flags_of() {  # MANIFEST: the flags in it as kubeadm writes them (YAML that may be quoted and folded), a line each
    awk -v quote="'" '
        function flush() {
            if (substr(flag, 1, 1) == quote) {
                flag = substr(flag, 2, length(flag) - 2)
                gsub(quote quote, quote, flag)
            } else if (substr(flag, 1, 1) == "\"") {
                flag = substr(flag, 2, length(flag) - 2)
                gsub(/\\"/, "\"", flag)
                gsub(/\\\\/, "\\", flag)
            }
            if (substr(flag, 1, 2) == "--") print flag
            flag = ""
        }
        /^    - / { flush(); flag = substr($0, 7); next }
        /^      / && flag != "" { sub(/^ +/, " "); flag = flag $0; next }
        { flush() }
        END { flush() }
    ' "$1"
}
runs() {  # POD: whether the program that runs is the one of its manifest: the one before it runs on for a while
    pid=$(pid_of $1)
    [ -n "$pid" ] && given=$(tr '\0' '\n' < /proc/$pid/cmdline | grep '^--' | sort) &&
        [ "$given" = "$(flags_of $manifests/$1.yaml | sort)" ] || return
    for file in $(sed -n "s|^ *path: $files/||p" $manifests/$1.yaml); do
        grep -qF "/$file " /proc/$pid/mountinfo || return
    done
}
serves() {  # POD
    case $1 in
        kube-apiserver) asked="https://@ADDRESS@:@PORT@ --request-timeout 5s get --raw /readyz" ;;
        # They serve with certificates of their own making.
        kube-controller-manager) asked="https://127.0.0.1:10257 --insecure-skip-tls-verify get --raw /healthz" ;;
        kube-scheduler) asked="https://127.0.0.1:10259 --insecure-skip-tls-verify get --raw /healthz" ;;
        etcd) return ;;  # without it, no API server is ready
    esac
    timeout 10 @KUBECTL@ --server $asked >/dev/null 2>&1
}
all_serve() { for pod in $awaited; do serves $pod || return; done; }
all_run() { for pod in $awaited; do runs $pod && serves $pod || return; done; }
hopeless() {  # whether a program has ended three times since the change; the kubelet numbers the logs of each start
    for pod in $changed; do
        newest=$(log_of $pod)
        [ "$newest" ] && [ "$newest" -nt $work/began ] || continue
        folder=${newest%/*} number=${newest##*/}
        number=${number%.log}
        first=$(sed -n "s|^$folder ||p" $work/starts)
        if [ -z "$first" ]; then echo "$folder $number" >> $work/starts; first=$number; fi
        [ $((number - first)) -lt 2 ] || return 0
    done
    return 1
}
await() {  # CHECK: until it succeeds, or $reason says why not
    deadline=$(($(date +%s) + @TIMEOUT@))
    until $1; do
        if [ $(date +%s) -gt $deadline ]; then reason="did not serve within @TIMEOUT@ s"; return 1; fi
        if [ $1 = all_run ] && [ -d $worked ] && hopeless; then reason="ended again and again"; return 1; fi
        sleep 0.2
    done
}
put() {  # FOLDER POD: its manifest in that folder into place, whole at once
    cp $1/$2.yaml $work/$2.yaml && sync $work/$2.yaml && mv $work/$2.yaml $manifests/$2.yaml
}
different() {  # FOLDER: the pods whose manifest there is not the one in place
    for pod in @PODS@; do if [ -f $1/$pod.yaml ] && ! same $1/$pod.yaml $manifests/$pod.yaml; then echo $pod; fi; done
}
fail() {  # with the manifests that worked, if there are any
    if ! [ -d $worked ]; then echo "$1"; exit 1; fi
    back=$(different $worked)
    awaited="kube-apiserver $back"
    for pod in $back; do put $worked $pod; done
    if await all_serve; then
        rm -rf $worked
        echo "$1 The manifests that worked are in place again, and the API server serves."
    else
        for pod in $awaited; do serves $pod || last_lines $pod; done
        echo "$1 The manifests that worked were put back, but do not serve either: see journalctl -u kubelet."
    fi
    exit 1
}

umask 077
mkdir -p $work $manifests
said=$(render 2>&1) || { printf '%s\n' "$said" | tail -n 5; fail "kubeadm can't make manifests of @CONFIG@."; }
fresh=$(different $wanted)
if [ -n "$fresh" ]; then know_all || fail "Nothing was changed: correct the flags in the settings."; fi
if [ -d $worked ]; then
    changed="$fresh $(different $worked)"  # by a run that did not come to its end
else
    changed=$fresh
    if [ -n "$fresh" ] && serves kube-apiserver; then
        rm -rf $worked.new && cp -a $manifests $worked.new && sync $worked.new/* && mv $worked.new $worked
    fi
fi
awaited="kube-apiserver $changed"
: > $work/began
: > $work/starts
for pod in $fresh; do put $wanted $pod; done
if ! await all_run; then
    for pod in $awaited; do
        runs $pod && serves $pod && continue
        last_lines $pod
        [ -n "$(pid_of $pod)" ] || journalctl --unit kubelet --since -5min --no-pager --output cat |
            grep -F $pod | tail -n 3 | cut -c 1-500
    done
    fail "$(echo ${changed:-kube-apiserver}) $reason."
fi
rm -rf $worked $wanted
for file in $files/*; do grep -qsF "$file" $manifests/*.yaml || rm -f "$file"; done
"""


def _filled(text: str, flags: Mapping[str, Sequence[str]], **more: object) -> str:
    """`flags`: static pod -> the words of its flags that are to be checked."""
    checks = (f"    knows {pod} {shlex.join(words)} || known=" for pod, words in flags.items() if words)
    values = {
        "KNOW_ALL": "\n".join(checks),
        "FILES": STATIC_PODS_FILES,
        "MANIFESTS": MANIFESTS,
        "WORKED": STATIC_PODS_WORKED,
        "WORK": STATIC_PODS_FOLDER,
        "CONFIG": KUBEADM_CONFIG,
        "PODS": " ".join(STATIC_PODS),
        "KUBECTL": KUBECTL,
        "PID": static_pod_pid("'\"$1\"'"),
        **more,
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def checked(flags: Mapping[str, Sequence[str]]) -> str:
    """Shell functions for `kubeadm init`: render, then know_all, which tells of flags that a program does not take.

    `flags`: static pod -> words such as "--v=2". last_lines POD prints the end of its log.
    """
    return _filled(_FUNCTIONS, flags)


def change(flags: Mapping[str, Sequence[str]], address: str, port: int, timeout_s: int) -> str:
    """The script of a change: to the manifests by the configuration at KUBEADM_CONFIG, or back to those that worked.

    `flags`: as for checked(). The API server is asked at `address` and `port`; each wait is of `timeout_s` at most.
    """
    return _filled(_FUNCTIONS + _SCRIPT, flags, ADDRESS=address, PORT=port, TIMEOUT=timeout_s)


@operation()
def manifests(
    configuration: str,
    flags: Mapping[str, Sequence[str]],
    files: Sequence[str],
    address: str,
    port: int,
    timeout_s: int,
) -> Generator[StringCommand, None, None]:
    """Keep the static pods of this host as kubeadm makes them by `configuration`, which is at KUBEADM_CONFIG.

    `flags`: static pod -> the words of those that the user gives it; `files`: the paths of the user's files here. The
    configuration that the cluster keeps, by which `kubeadm upgrade` goes, comes last: while an API server does not
    start with what is new, nobody could change it.
    """
    state = ask(StaticPods, _stdin=Hidden(configuration))
    serving = state.stored is not None
    surplus = sorted(set(state.files) - set(files))
    if state.differing or state.pending or not serving:
        yield in_unit(STATIC_PODS_UNIT, change(flags, address, port, timeout_s), lines=40)
    elif surplus:
        yield StringCommand("rm -f", *(shlex.quote(path) for path in surplus))
    if state.stored is None or not keeps(state.stored, configuration):
        yield StringCommand(f"kubeadm init phase upload-config kubeadm --config {KUBEADM_CONFIG}")
    elif not (state.differing or state.pending or surplus):
        host.noop("static pods are as they should be")
