"""What mirrors say of images, before anything is pulled: some serve no more than what is on their list."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from kubestage.facts.answers import Answers, filled
from kubestage.facts.fetching import FETCH
from kubestage.facts.framed import Fact
from kubestage.facts.host_report.registries import BEHIND_A_PROXY

FORBIDDEN = "403"

# As containerd: without apt's proxies, and each address in its turn until one answers anything but a refusal. Whether
# an answer of 401 or 404 is the last word, only a client with tokens and a list of manifest types could tell.
_SCRIPT = r"""
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
@FETCH@
ask() {  # IMAGE URL-OF-MANIFEST...
    image=$1
    shift
    for url; do
        if error=$(fetch "$url" -o Acquire::http::Proxy=DIRECT -o Acquire::https::Proxy=DIRECT 2>&1 >/dev/null)
        then why=; else why=$(reason "$url" "$error"); why=${why:-it could not be asked}; fi
        echo "image $image $url $why"
        case $why in
            @FORBIDDEN@*) ;;
            [1-5][0-9][0-9]* | "") break ;;
        esac
    done
}
if [ -x /usr/lib/apt/apt-helper ] && ! @BEHIND_A_PROXY@; then
    @ASKED@
    wait
fi
"""


class MirrorImages(Fact[Mapping[str, Mapping[str, str]]]):
    """An image -> each URL at which its manifest was asked for -> what was said instead: "403  Forbidden ...", or "".

    `images`: an image -> those URLs, in their order. None is known where containerd has a proxy.
    """

    @staticmethod
    def default() -> Mapping[str, Mapping[str, str]]:
        return {}

    def ask(self, images: Mapping[str, Sequence[str]]) -> str:
        asked = [" ".join(["ask", *map(shlex.quote, (image, *urls)), "&"]) for image, urls in images.items()]
        words = {
            "FETCH": FETCH,
            "FORBIDDEN": FORBIDDEN,
            "BEHIND_A_PROXY": BEHIND_A_PROXY,
            "ASKED": "\n    ".join(asked),
        }
        return filled(_SCRIPT, words)

    def parse(self, output: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for line in Answers(output).all("image"):
            image, url, *why = line.split(" ", 2)
            found.setdefault(image, {})[url] = " ".join(why)
        return found
