#!/bin/bash
# Release hello: ./release.sh VERSION. The variables are the lab's unless you set them: see README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${DOMAIN:=lab.test}" "${STATE:=.state/lab}" "${NODE:=10.77.0.11}" "${SSH:=.venv/bin/python -m lab ssh cp1 --}"
image=registry.$DOMAIN/hello:$1 host=hello.$DOMAIN

tar --create --directory examples/hello Dockerfile | $SSH docker build --build-arg "VERSION=$1" --tag "$image" -
$SSH docker --config /etc/kubernetes/kubestage/registry push "$image"
export KUBECONFIG=$STATE/kubeconfig
sed "s|@IMAGE@|$image|; s|@HOST@|$host|" examples/hello/hello.yaml | kubectl apply -f -
kubectl rollout status deployment/hello --timeout=120s
curl --fail --silent --show-error --cacert "$STATE/ca.crt" --connect-to "::$NODE:" "https://$host/"
