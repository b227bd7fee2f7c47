#!/bin/bash
# The floor: only what nobody can leave out, by hand, every host at once over SSH. Nothing is checked, nothing compared.
# Usage: floor.sh FOLDER SSH_CONFIG CONTROL_PLANE WORKER...
# FOLDER holds HOST.tar (a host's files), HOST.packages (its apt packages at their versions), images (what workers pull
# ahead), manifests.yaml (what is applied) and workloads (NAMESPACE KIND/NAME: what has to be ready).
set -euo pipefail
folder=$1 ssh="ssh -F $2" control_plane=$3
shift 3
hosts=("$control_plane" "$@")
kubectl="kubectl --kubeconfig /etc/kubernetes/admin.conf"
kubestage=/etc/kubernetes/kubestage

trap 'tail -n 20 "$folder"/*.log >&2' ERR

each() { # run a function for every host given, at once; fail if one fails
    local pids=() run=$1
    shift
    for host in "$@"; do "$run" "$host" >"$folder/$host.$run.log" 2>&1 & pids+=($!); done
    for pid in "${pids[@]}"; do wait "$pid"; done
}

packages() {
    $ssh "$1" 'tar -xmf - -C /' <"$folder/$1.tar"
    $ssh "$1" "export DEBIAN_FRONTEND=noninteractive; hostname $1; swapoff -a
        sysctl --quiet --load=/etc/sysctl.d/99-zz-kubestage.conf
        update-ca-certificates
        apt-get -q -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/kubestage.list -o Dir::Etc::sourceparts=- update &&
        apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install $(cat "$folder/$1.packages")"
}

init() { # kubeadm asks the API by its endpoint on the host, which knows its servers by the cluster's CA
    $ssh "$1" "kubeadm init phase certs ca --config $kubestage/kubeadm.yaml
        systemctl restart kubestage-endpoint
        kubeadm init --config $kubestage/kubeadm.yaml --skip-token-print"
}

pull() {
    $ssh "$1" "for image in \$(kubeadm config images list 2>/dev/null | grep -E 'kube-proxy|coredns') $(tr '\n' ' ' <"$folder/images")
        do ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d \$image >/dev/null; done"
}

join() {
    $ssh "$1" "cat >$kubestage/endpoint/ca.crt; systemctl restart kubestage-endpoint" <"$folder/ca.crt"
    $ssh "$1" "$join_command --node-name $1 --ignore-preflight-errors SystemVerification"
}

phase() { # print how long it took since the last one
    printf '%-22s%6.1f s\n' "$1" "$(awk "BEGIN {print $(date +%s.%N) - $last}")"
    last=$(date +%s.%N)
}

last=$(date +%s.%N)
each packages "${hosts[@]}"
phase packages
each init "$control_plane" &
initialising=$!
each pull "$@"
wait $initialising
phase "init, pull"
join_command=$($ssh "$control_plane" "kubeadm token create --ttl 15m --print-join-command")
$ssh "$control_plane" "cat /etc/kubernetes/pki/ca.crt" >"$folder/ca.crt"
each join "$@"
phase join
$ssh "$control_plane" "set -e
    cat >/root/manifests.yaml
    for definitions in \$(ls $kubestage/manifests/*/upstream-*/manifest.yaml 2>/dev/null); do
        $kubectl apply --server-side -f \$definitions
        $kubectl wait --for=condition=Established --timeout=60s -f \$definitions
    done
    $kubectl apply --server-side -f /root/manifests.yaml
    $kubectl wait --for=condition=Ready --timeout=180s ${hosts[*]/#/node/}" <"$folder/manifests.yaml" \
    >"$folder/manifests.log" 2>&1
phase "manifests, Ready"
# A kubelet that has no serving certificate yet asks for one again and again: all that are waiting are granted.
while [ "$($ssh "$control_plane" "$kubectl get csr -o name | xargs -r $kubectl certificate approve >/dev/null
    $kubectl get csr --no-headers | grep kubelet-serving | grep -c Issued")" -lt ${#hosts[@]} ]; do :; done
$ssh "$control_plane" "while read -r namespace workload; do
        $kubectl rollout status --timeout=300s --namespace \$namespace \$workload; done" \
    <"$folder/workloads" >"$folder/workloads.log" 2>&1
phase "everything serves"
