"""What a command says that has waited in vain, on the control plane host."""

from __future__ import annotations

from kubestage.kubernetes import KUBECTL

_CONDITIONS = (
    r"""'{range .items[*]}{.metadata.name}{range .status.conditions[?(@.status=="True")]} {.type}{end}{"\n"}{end}'"""
)

# The lines of kubestage.facts.pressure, told(by_summary()), for each node that is short of something.
_PRESSURES = r"""
@KUBECTL@ get nodes --request-timeout 10s -o jsonpath=@CONDITIONS@ 2>/dev/null | grep Pressure |
while read -r node types; do
    summary=$(@KUBECTL@ get --raw "/api/v1/nodes/$node/proxy/stats/summary" --request-timeout 10s 2>/dev/null)
    for type in $types; do
        if [ "${type%Pressure}" = "$type" ]; then continue; fi
        printf "%s\n" "$summary" | tr -d " \n" | awk -v node="$node" -v type="$type" '
            function amount(object, name,    at, part) {
                if (!(at = index(all, "\"" object "\":{"))) return -1
                part = substr(all, at)
                part = substr(part, 1, index(part, "}"))
                at = index(part, "\"" name "\":")
                return at ? substr(part, at + length(name) + 3) + 0 : -1
            }
            function tell(what, free, whole, size) {
                if (free < 0 || whole <= 0 || (free " " whole) in told) return
                told[free " " whole] = 1
                line = line (line ? ", " : ": ") int(free * 100 / whole) " % of " what " free ("
                if (size) line = line sprintf("%.1f of %.1f GiB)", free / 2 ^ 30, whole / 2 ^ 30)
                else line = line sprintf("%d of %d)", free, whole)
            }
            function disk(what, object,    free, whole) {
                free = amount(object, "availableBytes"); whole = amount(object, "capacityBytes")
                if (whole > 0 && int(free * 100 / whole) < least) least = int(free * 100 / whole)
                tell(what, free, whole, 1)
            }
            function scarcer(what, object,    free, whole) {
                free = amount(object, "inodesFree"); whole = amount(object, "inodes")
                if (whole > 0 && int(free * 100 / whole) < least) tell("the inodes of " what, free, whole)
            }
            { all = all $0 }
            END {
                # The node itself stands between its system containers and the pods.
                if (at = index(all, "\"pods\":[")) all = substr(all, 1, at)
                if (at = index(all, "],\"startTime\":")) all = substr(all, at)
                least = 100
                if (type == "DiskPressure") {
                    disk("the images\047 disk", "imageFs"); disk("the pods\047 disk", "fs")
                    scarcer("the images\047 disk", "imageFs"); scarcer("the pods\047 disk", "fs")
                } else if (type == "MemoryPressure") {
                    free = amount("memory", "availableBytes")
                    tell("its memory", free, free + amount("memory", "workingSetBytes"), 1)
                } else {
                    most = amount("rlimit", "maxpid")
                    tell("its process ids", most - amount("rlimit", "curproc"), most)
                }
                print node ": " type line
            }
        '
    done
done"""


def or_explained(explanation: str) -> str:
    """What a command that waits ends with: it fails with a line for each node's pressure, and without one with more.

    `explanation`: what prints that, which may be long.
    """
    lines = _PRESSURES.strip().replace("@KUBECTL@", KUBECTL).replace("@CONDITIONS@", _CONDITIONS)
    return f'|| {{ lines=$({lines}); if [ "$lines" ]; then echo "$lines"; else {explanation}; fi >&2; exit 1; }}'
