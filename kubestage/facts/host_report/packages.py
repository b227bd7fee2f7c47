"""The packages that a host has, and those that its mirror has for it, as preflight asks for them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubestage.facts.answers import Answers, filled
from kubestage.facts.fetching import FETCH
from kubestage.facts.host_report.wanted import Wanted

_SCRIPT = r"""
installed=$(dpkg-query -W -f='package ${Package} ${Version} ${db:Status-Status}\n' @PACKAGES@ 2>/dev/null |
    sed -n 's/ installed$//p')
echo "$installed"
complete=yes
for pin in @PINS@; do
    case "
$installed" in
        *"
package $pin"*) ;;
        *) complete= ;;
    esac
done

@FETCH@
index() {  # NAME URL-OF-FOLDER: the versions in its Packages file
    for file in Packages.gz Packages; do
        versions=$(fetch "$2/$file" 2>/dev/null | if [ $file = Packages ]; then cat; else gzip -dc 2>/dev/null; fi |
            awk -v repository="$1" -v wanted=" @NAMES@ " -v own="$arch" '
                function flush() {
                    if (index(wanted, " " name " ") && (arch == own || arch == "all"))
                        print "available", repository, name, version
                    name = version = arch = ""
                }
                $1 == "Package:" { name = $2; seen = 1 }
                $1 == "Version:" { version = $2 }
                $1 == "Architecture:" { arch = $2 }
                /^$/ { flush() }
                END { flush(); if (!seen) exit 1 }
            ') && { echo "$versions"; return; }
    done
    echo "unreachable $1 no package index at $2/Packages.gz"
}
repository() {  # NAME URL-OF-KEY URL-OF-INDEX
    echo "asked $1"
    if error=$(fetch "$2" 2>&1 >/dev/null); then index "$1" "$3"; else
        echo "unreachable $1 $2: $(reason "$2" "$error")"
    fi
}
if [ -z "$complete" ] && [ -x /usr/lib/apt/apt-helper ]; then
    repository kubernetes @KUBERNETES_KEY@ @KUBERNETES_INDEX@
    repository docker @DOCKER_KEY@ @DOCKER_INDEX@
fi
"""


@dataclass(frozen=True)
class Repository:
    """An apt repository as the host sees it: what failed when it was asked, or ""; package -> its versions there."""

    error: str = ""
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Packages:
    """`packages`: the installed ones -> their versions; `repositories`: None where every wanted package is there."""

    packages: Mapping[str, str]
    repositories: Mapping[str, Repository] | None


def script(wanted: Wanted) -> str:
    def quoted(url: str) -> str:
        """For the shell, which fills in "{os}" and what depends on it."""
        text = shlex.quote(url)
        for name in ("os", "codename", "arch"):
            text = text.replace("{" + name + "}", f"'\"${name}\"'")
        return text

    pins = (f"{name} {version}" for name, version in wanted.packages.items())
    words = {
        "FETCH": FETCH,
        "PACKAGES": " ".join(wanted.packages),
        "NAMES": " ".join(wanted.packages),
        "PINS": " ".join(shlex.quote(pin) for pin in pins),
        "KUBERNETES_KEY": quoted(wanted.kubernetes_key),
        "KUBERNETES_INDEX": quoted(wanted.kubernetes_apt),
        "DOCKER_KEY": quoted(wanted.docker_key),
        "DOCKER_INDEX": quoted(wanted.docker_apt + "/dists/{codename}/stable/binary-{arch}"),
    }
    return filled(_SCRIPT, words)


def read(said: Answers) -> Packages:
    return Packages(packages=said.pairs("package"), repositories=_repositories(said) if "asked" in said else None)


def _repositories(said: Answers) -> dict[str, Repository]:
    errors = said.pairs("unreachable")
    versions: dict[str, dict[str, list[str]]] = {name: {} for name in said.all("asked")}
    for line in said.all("available"):
        repository, package, version = line.split()
        versions[repository].setdefault(package, []).append(version)
    return {
        name: Repository(errors.get(name, ""), {package: tuple(found) for package, found in packages.items()})
        for name, packages in versions.items()
    }
