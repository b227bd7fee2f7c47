"""How a bare host fetches a file: shell functions, for the scripts of facts."""

FETCH = r"""
# A bare host may have no CAs yet: a run installs them first. Nothing of what is read here is kept.
bare=
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then bare=yes; fi
# By apt's own downloader, which has apt's proxies, and is there where curl is not. It can't write to a pipe.
fetch() {  # URL [OPTION...]: what is there
    url=$1
    shift
    folder=$(mktemp -d) || return
    /usr/lib/apt/apt-helper -qq -o Acquire::Retries=0 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 \
        ${bare:+-o Acquire::https::Verify-Peer=false} "$@" download-file "$url" "$folder/file" >&2 && cat "$folder/file"
    result=$?
    rm -rf "$folder"
    return $result
}
reason() {  # URL OUTPUT: why it could not be fetched, by what fetch has printed
    echo "$2" | sed -n "s|^E: \(Failed to fetch $1  *\)\{0,1\}||p" | head -n 1
}
""".strip()
