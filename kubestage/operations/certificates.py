"""The platform's certificates: kept on the control plane host, and trusted by every host."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakKeyDictionary

from cryptography import x509
from gevent.lock import BoundedSemaphore
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, OperationError, StringCommand
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.facts.files import FileContents

from kubestage import certificates, runtime
from kubestage.certificates import CA_CERTIFICATE, CA_KEY, WILDCARD_CERTIFICATE, WILDCARD_KEY, Pair
from kubestage.facts.certificates import TRUSTED, Certificates, Installed, Trust
from kubestage.host_file import HostFile
from kubestage.local_file import save
from kubestage.operations.files import differing, put, write
from kubestage.shell import run_on


def _files(pair: Pair, certificate: str, key: str) -> list[HostFile]:
    # The key first: a certificate that is there has its key, whenever the power goes.
    return [*([HostFile(key, pair.key, mode="600")] if pair.key else []), HostFile(certificate, pair.certificate)]


def _modes(installed: Mapping[str, Installed]) -> list[StringCommand]:
    """What mends strange modes: certificates are for everybody, keys are root's own."""
    strange = (path for state in installed.values() for path in state.strange)
    return [
        StringCommand(f"chown 0:0 {path} && chmod {'600' if path.endswith('.key') else '644'} {path}")
        for path in strange
    ]


@operation()
def kept(
    cluster_name: str, domain: str, ca: Pair | None, wildcard: Pair | None
) -> Generator[StringCommand, None, None]:
    """Keep the CA and the wildcard certificate for `domain`: those that the user gave, or of our own making.

    Our CA is made once; the wildcard certificate is issued anew when its time comes, or its domain or CA has changed.
    """
    given = [
        *(_files(ca, CA_CERTIFICATE, CA_KEY) if ca else ()),
        *(_files(wildcard, WILDCARD_CERTIFICATE, WILDCARD_KEY) if wildcard else ()),
    ]
    if given:
        yield from write._inner(given)
    if wildcard:
        return  # no CA has anything to issue
    pairs = {CA_CERTIFICATE: CA_KEY, WILDCARD_CERTIFICATE: WILDCARD_KEY}
    installed = host.get_fact(Certificates, pairs=pairs)
    now = datetime.now(UTC)
    new: list[HostFile] = []

    present = installed.get(CA_CERTIFICATE, Installed())
    if ca is None and present.has_key and certificates.is_good_ca(present.certificate, now):
        ca = Pair(present.certificate, key="")
    elif ca is None:
        ca = certificates.new_ca(f"{cluster_name} CA", now)
        new += _files(ca, CA_CERTIFICATE, CA_KEY)

    present = installed.get(WILDCARD_CERTIFICATE, Installed())
    names = certificates.wildcard_names(domain)
    if not (present.has_key and certificates.is_good(present.certificate, ca.certificate, names, now)):
        if not host.state.is_executing:
            yield StringCommand("issue a certificate")  # the CA's key is read only when it is used
            return
        issued = certificates.issued(Pair(ca.certificate, ca.key or _ca_key()), names, now)
        new += _files(issued, WILDCARD_CERTIFICATE, WILDCARD_KEY)

    modes = _modes(installed)
    yield from modes
    if new:
        yield put(new)
    elif not modes:
        host.noop("certificates are as they should be")


def _ca_key() -> str:
    found, key = run_on(host, f"cat {CA_KEY}")
    if not found:
        raise OperationError(f"{host.name}: could not read {CA_KEY}")
    return key


@operation()
def mutual(folder: str, uses: Mapping[str, x509.ObjectIdentifier]) -> Generator[StringCommand, None, None]:
    """Keep in `folder` certificates by which programs in the cluster know each other: NAME.crt and NAME.key.

    `uses`: a certificate's name, which is its DNS name -> what it is used for. All are of one CA, ca.crt, whose key is
    never written: when one of them is missing or near its end, all are made anew.
    """
    pairs = {f"{folder}/{name}.crt": f"{folder}/{name}.key" for name in ("ca", *uses)}
    installed = host.get_fact(Certificates, pairs=pairs)
    now = datetime.now(UTC)

    def present(name: str) -> Installed:
        return installed.get(f"{folder}/{name}.crt", Installed())

    ca = present("ca").certificate
    good = (present(name).has_key and certificates.is_good(present(name).certificate, ca, [name], now) for name in uses)
    if certificates.is_good_ca(ca, now) and all(good):
        modes = _modes(installed)
        yield from modes
        if not modes:
            host.noop("certificates are as they should be")
        return
    authority = certificates.new_ca(" and ".join(uses), now)
    new = []
    for name, use in uses.items():
        pair = certificates.issued(authority, [name], now, use=use, life=certificates.CA_LIFE)
        new += _files(pair, f"{folder}/{name}.crt", f"{folder}/{name}.key")
    yield put([*new, HostFile(f"{folder}/ca.crt", authority.certificate)])


class _Authority:
    """The CA's certificate as the control plane has it: read once while a run looks ahead, and once when it works."""

    def __init__(self) -> None:
        self._lock = BoundedSemaphore()
        self._known: dict[bool, str] = {}

    def certificate(self, control_plane: Host) -> str:
        """PEM; empty while there is none."""
        with self._lock:
            executing = control_plane.state.is_executing
            if executing not in self._known:
                lines = control_plane.get_fact(FileContents, path=CA_CERTIFICATE)
                self._known[executing] = "".join(f"{line}\n" for line in lines or ())
            return self._known[executing]


_authorities: WeakKeyDictionary[State, _Authority] = WeakKeyDictionary()


def _authority(control_plane: Host) -> str:
    """The CA's certificate; empty only while a run looks ahead."""
    certificate = _authorities.setdefault(host.state, _Authority()).certificate(control_plane)
    if not certificate and host.state.is_executing:
        raise OperationError(f"{control_plane.name} has no {CA_CERTIFICATE} yet: run once without --limit")
    return certificate


@operation()
def trusted(control_plane: Host, registry: str, wanted: bool) -> Generator[StringCommand, None, None]:
    """Make this host trust the CA, or trust it no more; `registry` is the site of the registry, empty for none.

    containerd and Docker look for a registry's CA at each request, so neither is restarted.
    """
    files: list[HostFile] = []
    if wanted:
        ca = _authority(control_plane)
        if not ca:
            yield StringCommand("trust the CA")
            return
        files.append(HostFile(TRUSTED, ca))
    if wanted and registry:
        files += runtime.registry_trust(registry, ca, TRUSTED)
    trust = host.get_fact(Trust)
    wrong = differing(files, trust.files)
    surplus = [path for path in trust.files if path not in {file.path for file in files}]
    if wrong:
        yield put(wrong)
    for path in surplus:
        yield StringCommand(f"rm {path} && rmdir --ignore-fail-on-non-empty $(dirname {path})")
    if not trust.bundled or TRUSTED in {*surplus, *(file.path for file in wrong)}:
        # --fresh: without it, links by which openssl finds an old CA stay, and a new one gets none.
        yield StringCommand("update-ca-certificates --fresh")
    elif not wrong and not surplus:
        host.noop("trusts the CA" if wanted else "trusts no CA of the platform")


@operation()
def fetched(control_plane: Host, path: Path, wanted: bool) -> Generator[FunctionCommand, None, None]:
    """Keep `path`, on the machine that the run is started from, a copy of the CA's certificate; or keep it away."""
    if not wanted:
        if path.exists():
            yield FunctionCommand(path.unlink, (), {})
        else:
            host.noop("there is no CA to trust")
        return
    ca = _authority(control_plane)
    if ca and path.exists() and path.read_text() == ca:
        host.noop(f"{path} is up to date")
        return
    yield FunctionCommand(save, (path, ca), {})
