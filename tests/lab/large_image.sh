# On a host: load an image called $1 into Docker, with a layer of $2 random bytes. The layer is not compressed, so that
# all of it goes over the network when the image is pushed (https://github.com/opencontainers/image-spec).
set -eu
folder=$(mktemp --directory --tmpdir=/var/lib)
trap 'rm -r "$folder"' EXIT
cd "$folder"
mkdir -p blobs/sha256
type=application/vnd.oci.image

blob() { # of the file and media type; sets $digest and $descriptor
    digest=$(sha256sum <"$1" | cut -c 1-64)
    descriptor='"mediaType":"'$2'","digest":"sha256:'$digest'","size":'$(stat --format %s "$1")
    mv "$1" "blobs/sha256/$digest"
}

head --bytes "$2" /dev/urandom >data
tar --create --file layer data
rm data
blob layer $type.layer.v1.tar
layer=$descriptor
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$digest" >config
blob config $type.config.v1+json
printf '{"schemaVersion":2,"mediaType":"%s","config":{%s},"layers":[{%s}]}' \
    $type.manifest.v1+json "$descriptor" "$layer" >manifest
blob manifest $type.manifest.v1+json
printf '{"schemaVersion":2,"manifests":[{%s,"annotations":{"io.containerd.image.name":"%s"}}]}' \
    "$descriptor" "$1" >index.json
printf '{"imageLayoutVersion":"1.0.0"}' >oci-layout
tar --create . | docker load --quiet
