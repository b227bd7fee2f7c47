"""Scripts in a transient systemd unit: they come to their end even when the run that started them is killed."""

from __future__ import annotations

from pyinfra.api import StringCommand

from kubestage.kubernetes import OURS


def in_unit(unit: str, script: str, done: str = "", *, lines: int = 25) -> StringCommand:
    """Run `script` (sh) in `unit`. Where one of that name is at work already, wait for it.

    With `done`, that is waited for instead, and the file `done` is the sign of success; without, the script is run
    after it, and its exit code counts. A failure shows the last `lines` of the log.
    """
    log, file = f"/var/log/{unit}.log", f"{OURS}/{unit}.sh"
    wait = f"while systemctl --quiet is-active {unit}; do sleep 0.2; done"
    # On standard input, the script may have quotes, and is on no command line.
    start = (
        f"( umask 077 && mkdir -p {OURS} && cat > {file} ) && "
        f"systemd-run --quiet --wait --collect --unit {unit} --service-type exec --setenv PATH=$PATH "
        f"-p StandardOutput=truncate:{log} -p StandardError=append:{log} sh {file}"
    )
    if done:
        run = f"if systemctl --quiet is-active {unit}; then {wait}; else {start}; fi; test -f {done}"
    else:
        run = f"{wait}; {start}"
    failed = f"{{ tail -n {lines} {log} >&2; echo '{unit} failed; all of its output: {log}' >&2; exit 1; }}"
    return StringCommand(f"{run} || {failed}", _stdin=script)
