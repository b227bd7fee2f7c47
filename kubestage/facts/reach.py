"""Whether hosts reach each other, before anything that needs it is there: each one listens, and tries the others.

All hosts are asked at the same time. Where a host has answered all that it is to, and was answered, it ends; else it
goes on until its time is up.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubestage.facts.framed import Fact

TICKS = 20  # a second
GRACE = 5  # seconds
Port = tuple[str, int]  # "tcp" or "udp", and its number


@dataclass(frozen=True)
class Peer:
    """Another host: its address, what is tried there, and what it will try here."""

    address: str
    tried: tuple[Port, ...]
    awaited: tuple[Port, ...]


@dataclass(frozen=True)
class Reached:
    """`failed`: (protocol, port, address) -> what was said instead of an answer. `busy`: what could not be listened on.

    `unable`: why nothing could be tried, or "".
    """

    failed: Mapping[tuple[str, int, str], str]
    busy: frozenset[Port] = frozenset()
    unable: str = ""


# Perl is on every Debian and Ubuntu: perl-base is essential there, and has these modules.
_SCRIPT = r"""
use strict;
use Errno qw(EAGAIN EINPROGRESS);
use Fcntl;
use Socket;

my ($own, $seconds, $listens, @peers) = @ARGV;
my (%listener, @attempts, %awaited, @accepted);
$SIG{ALRM} = sub { die "it took too long\n" };
alarm 2 * $seconds + @GRACE@;  # whatever becomes of the run that asks, nothing goes on listening

sub opened {  # PROTOCOL PORT: a socket at our own address
    my ($protocol, $port) = @_;
    socket(my $socket, PF_INET, $protocol eq "tcp" ? SOCK_STREAM : SOCK_DGRAM, 0) or die "socket: $!";
    setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1) if $protocol eq "tcp";
    fcntl($socket, F_SETFL, O_NONBLOCK);
    return bind($socket, sockaddr_in($port, inet_aton($own))) ? $socket : undef;
}

sub try_tcp {
    my ($attempt) = @_;
    my $error;
    if (!$attempt->{socket}) {
        $attempt->{socket} = opened("tcp", 0) or die "$own: $!";
        $error = $! + 0 if !connect($attempt->{socket}, $attempt->{to}) and $! != EINPROGRESS;
    }
    if (!$error) {
        my $ready = "";
        vec($ready, fileno($attempt->{socket}), 1) = 1;
        return unless select(undef, $ready, undef, 0) > 0;
        $error = unpack("i", getsockopt($attempt->{socket}, SOL_SOCKET, SO_ERROR));
    }
    close(delete $attempt->{socket});
    if ($error) { $! = $error; $attempt->{why} = "$!" }
    else { $attempt->{reached} = 1 }
}

# From another port than ours: a firewall lets answers pass. What we got is told, so that the other one may end.
sub try_udp {
    my ($attempt) = @_;
    if (!$attempt->{socket}) {
        $attempt->{socket} = opened("udp", 0) or die "$own: $!";
        connect($attempt->{socket}, $attempt->{to});
    }
    send($attempt->{socket}, $attempt->{reached} ? "thanks" : "hello", 0);
    $attempt->{reached} = 1 while defined recv($attempt->{socket}, my $said, 64, 0);
    $attempt->{why} = "$!" if $! != EAGAIN;
}

sub answer {
    for my $name (keys %listener) {
        my $socket = $listener{$name};
        if ($name =~ /^tcp/) {
            while (my $from = accept(my $connection, $socket)) {
                push @accepted, $connection;  # the other side closes first: no port of ours has to rest
                delete $awaited{inet_ntoa((sockaddr_in($from))[1]) . " $name"};
            }
        } else {
            while (defined(my $from = recv($socket, my $said, 64, 0))) {
                if ($said eq "hello") { send($socket, "here", 0, $from) }
                else { delete $awaited{inet_ntoa((sockaddr_in($from))[1]) . " $name"} }
            }
        }
    }
}

for (split /,/, $listens) {
    my ($protocol, $port) = split /:/;
    my $socket = opened($protocol, $port);
    if ($socket and ($protocol eq "udp" or listen($socket, 128))) { $listener{"$protocol $port"} = $socket }
    else { print "busy $protocol $port\n" }
}
for (@peers) {
    my ($address, $tried, $awaited) = split m{/};
    for (split /,/, $tried) {
        my ($protocol, $port) = split /:/;
        my $to = sockaddr_in($port, inet_aton($address));
        push @attempts, {protocol => $protocol, name => "$protocol $port $address", to => $to, why => "no answer"};
    }
    for (split /,/, $awaited // "") {
        my ($protocol, $port) = split /:/;
        $awaited{"$address $protocol $port"} = 1 if $listener{"$protocol $port"};
    }
}
my ($ticks, $more) = ($seconds * @TICKS@, 3);
while ($ticks-- > 0 and $more) {
    answer();
    for my $attempt (@attempts) {
        if ($attempt->{protocol} eq "udp") { try_udp($attempt) }
        elsif (!$attempt->{reached}) { try_tcp($attempt) }
    }
    $more-- unless %awaited or grep { !$_->{reached} } @attempts;
    select(undef, undef, undef, 1 / @TICKS@);
}
for (grep { !$_->{reached} } @attempts) { print "failed $_->{name} $_->{why}\n" }
print "tried\n";
"""


class Reach(Fact[Reached]):
    """What `peers` have answered to the host with the address `own`, which listens on `listens`, within `seconds`."""

    @staticmethod
    def default() -> Reached:
        return Reached({}, unable="there was no answer")

    def ask(self, own: str, listens: Sequence[Port], peers: Sequence[Peer], seconds: int) -> str:
        def joined(ports: Sequence[Port]) -> str:
            return ",".join(f"{protocol}:{port}" for protocol, port in ports)

        words = [f"{peer.address}/{joined(peer.tried)}/{joined(peer.awaited)}" for peer in peers]
        arguments = " ".join(shlex.quote(word) for word in (own, str(seconds), joined(listens), *words))
        script = _SCRIPT.replace("@TICKS@", str(TICKS)).replace("@GRACE@", str(GRACE))
        return f"LC_ALL=C perl - {arguments} 2>&1 <<'KUBESTAGE' || true\n{script}KUBESTAGE"

    def parse(self, output: Sequence[str]) -> Reached:
        failed, busy = {}, set()
        *lines, end = output
        for line in lines:
            word, *words = line.split(" ", 4)
            if word == "failed" and len(words) == 4:
                failed[words[0], int(words[1]), words[2]] = words[3]
            elif word == "busy" and len(words) == 2:
                busy.add((words[0], int(words[1])))
        return Reached(failed, frozenset(busy), "" if end == "tried" else end)
