"""The platform's certificates: kept on the control plane host, and trusted by every host."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from kubestage.certificates import pem, platform
from kubestage.certificates.platform import CA_CERTIFICATE, CA_KEY, WILDCARD_CERTIFICATE, WILDCARD_KEY, Pair
from kubestage.cluster.answers import ask
from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import call, run_on
from kubestage.facts.certificates import TRUSTED, Authority, Certificates, Installed, Trust
from kubestage.host_file import HostFile
from kubestage.kubernetes import KUBECTL, PLATFORM_NAMESPACE
from kubestage.local_file import save
from kubestage.operations.files import differing, files, put
from kubestage.render import runtime
from kubestage.stacks.platform_secrets import CERTIFICATES


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
def authority(
    cluster_name: str, domain: str, ca: Pair | None, wildcard: Pair | None, renew_days: int
) -> Generator[StringCommand, None, None]:
    """Keep the CA and the wildcard certificate for `domain`: those that the user gave, or of our own making.

    Our CA is made once, and anew only when it ends within `renew_days`. The wildcard certificate is issued anew then as
    well, and when its domain or its CA has changed.
    """
    given = [
        *(_files(ca, CA_CERTIFICATE, CA_KEY) if ca else ()),
        *(_files(wildcard, WILDCARD_CERTIFICATE, WILDCARD_KEY) if wildcard else ()),
    ]
    if given:
        yield from files._inner(given)
    if wildcard:
        return  # no CA has anything to issue
    pairs = {CA_CERTIFICATE: CA_KEY, WILDCARD_CERTIFICATE: WILDCARD_KEY}
    installed = ask(Certificates, pairs=pairs)
    now = datetime.now(UTC)
    new: list[HostFile] = []

    ca = ca or _our_ca(installed.get(CA_CERTIFICATE), now, renew_days)
    if ca is None:
        ca = platform.new_ca(f"{cluster_name} CA", now)
        new += _files(ca, CA_CERTIFICATE, CA_KEY)

    present = installed.get(WILDCARD_CERTIFICATE, Installed())
    names = platform.wildcard_names(domain)
    if not (present.has_key and platform.is_good(present.certificate, ca.certificate, names, now, renew_days)):
        if not host.state.is_executing:
            yield StringCommand("issue a certificate")  # the CA's key is read only when it is used
            return
        issued = platform.issued(Pair(ca.certificate, ca.key or _ca_key()), names, now)
        new += _files(issued, WILDCARD_CERTIFICATE, WILDCARD_KEY)

    modes = _modes(installed)
    yield from modes
    if new:
        yield put(new)
    elif not modes:
        host.noop("certificates are as they should be")


def _our_ca(present: Installed | None, now: datetime, renew_days: int) -> Pair | None:
    """The CA that is on the host, without its key; None where a new one is to be made.

    That is so where there is none, or its time is over. What is odd about it is an error: everybody who trusts it would
    have to trust another one.
    """
    if present is None:
        return None
    forget = f"{FORGET} && rm -f {CA_CERTIFICATE} {CA_KEY}"
    anew = f"on {host.name}: {forget} ; it has to be trusted anew then wherever the old one is"
    try:
        found = pem.first(present.certificate)
    except ValueError as error:
        raise OperationError(
            f"{host.name}: {CA_CERTIFICATE} can't be read: {error}\n"
            f"    -> put it back from a copy (yours is .state/INVENTORY/ca.crt); or to have a new CA made, {anew}"
        ) from None
    if platform.is_early(found, now):
        raise OperationError(f"{_early(CA_CERTIFICATE, found, now)}\n    -> {_CLOCK}, wait; or for a new CA, {anew}")
    if platform.is_late(found, now, renew_days):
        if host.state.is_executing:
            logger.warning(
                f"{host.name}: the CA {CA_CERTIFICATE} ends on {found.not_valid_after_utc:%Y-%m-%d}, and a new one is "
                "made in its place: whoever trusts it has to trust the new one (make trust)"
            )
        return None
    if present.has_key is None and host.state.is_executing:
        raise OperationError(f"{host.name}: openssl does not run there, so whether {CA_KEY} fits can't be told")
    if present.has_key is False or not pem.is_ca(found):
        what = "its key is not there, or is another's" if pem.is_ca(found) else "it is no CA's"
        raise OperationError(
            f"{host.name}: {CA_CERTIFICATE} is there, and {what}: {CA_KEY}\n"
            f"    -> put both back from a backup, set ca_certificate and ca_key; or to have a new CA made, {anew}"
        )
    return Pair(present.certificate, key="")


# The cluster keeps it as well, and would bring it back.
FORGET = f"{KUBECTL} --namespace {PLATFORM_NAMESPACE} delete secret {CERTIFICATES.name} --ignore-not-found"
_CLOCK = "correct this machine's clock (timedatectl); if that is right, the one by which it was made was ahead"


def _early(path: str, found: x509.Certificate, now: datetime) -> str:
    return (
        f"{host.name}: {path} is not valid before {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, and it is "
        f"{now:%Y-%m-%d %H:%M} by this machine's clock"
    )


def _ca_key() -> str:
    found, key = run_on(host, f"cat {CA_KEY}")
    if not found:
        raise OperationError(f"{host.name}: could not read {CA_KEY}")
    return key


@operation()
def mutual_certificates(
    folder: str, uses: Mapping[str, x509.ObjectIdentifier], renew_days: int
) -> Generator[StringCommand, None, None]:
    """Keep in `folder` certificates by which programs in the cluster know each other: NAME.crt and NAME.key.

    `uses`: a certificate's name, which is its DNS name -> what it is used for. All are of one CA, ca.crt, whose key is
    never written: when one of them is missing or ends within `renew_days`, all are made anew.
    """
    pairs = {f"{folder}/{name}.crt": f"{folder}/{name}.key" for name in ("ca", *uses)}
    installed = ask(Certificates, pairs=pairs)
    now = datetime.now(UTC)
    if all(_serves(installed, folder, name, now, renew_days) for name in ("ca", *uses)):
        modes = _modes(installed)
        yield from modes
        if not modes:
            host.noop("certificates are as they should be")
        return
    authority = platform.new_ca(" and ".join(uses), now)
    new = []
    for name, use in uses.items():
        pair = platform.issued(authority, [name], now, use=use, life=platform.CA_LIFE)
        new += _files(pair, f"{folder}/{name}.crt", f"{folder}/{name}.key")
    yield put([*new, HostFile(f"{folder}/ca.crt", authority.certificate)])


def _serves(installed: Mapping[str, Installed], folder: str, name: str, now: datetime, renew_days: int) -> bool:
    """Whether the CA of `folder`, or what it has issued for `name`, is there and need not be made anew."""
    path = f"{folder}/{name}.crt"
    present, ca = installed.get(path, Installed()), installed.get(f"{folder}/ca.crt", Installed())
    try:
        found = pem.first(present.certificate)
    except ValueError:
        return False
    if platform.is_early(found, now):
        raise OperationError(
            f"{_early(path, found, now)}\n    -> {_CLOCK}: wait, or for new ones, on {host.name}: rm -r {folder}"
        )
    if name == "ca":
        return pem.is_ca(found) and not platform.is_late(found, now, renew_days)
    if present.has_key is None and host.state.is_executing:
        raise OperationError(
            f"{host.name}: openssl does not run there, so whether the key of {path} fits can't be told"
        )
    return present.has_key is not False and platform.is_good(
        present.certificate, ca.certificate, [name], now, renew_days
    )


def _authority(control_plane: ControlPlane) -> str:
    """The CA's certificate; empty only while a run looks ahead."""
    certificate = control_plane.ask(Authority)
    if isinstance(certificate, str) and (certificate or not host.state.is_executing):
        return certificate
    if host.state.is_executing:
        raise OperationError(f"{control_plane.name} has no {CA_CERTIFICATE} yet: run once without --limit")
    return ""


@operation()
def trusted_authority(control_plane: ControlPlane, registry: str, wanted: bool) -> Generator[StringCommand, None, None]:
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
    trust = ask(Trust)
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
def authority_copy(control_plane: ControlPlane, path: Path, wanted: bool) -> Generator[FunctionCommand, None, None]:
    """Keep `path`, on the machine that the run is started from, a copy of the CA's certificate; or keep it away."""
    if not wanted:
        if path.exists():
            yield call(path.unlink)
        else:
            host.noop("there is no CA to trust")
        return
    ca = _authority(control_plane)
    if ca and path.exists() and path.read_text() == ca:
        host.noop(f"{path} is up to date")
        return
    yield call(save, path, ca)
