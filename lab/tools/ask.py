"""The client that every stand-in is: ask the world, print what it says, exit as it says.

Started as a script, often and in parallel, by an interpreter without site-packages, so it imports C modules alone.

The question is a length (4 bytes) and, separated by NUL, the number of arguments, the arguments and the environment.
The answer is a row of frames: kind (1 byte), length (4 bytes), content. Kinds: 1 and 2 go to that descriptor, 0 is the
exit status, 3 a program to become, with its arguments separated by NUL.
"""

import posix
import sys
from _socket import AF_UNIX, SOCK_STREAM, socket


def main() -> None:
    """Ask, print, exit."""
    address = posix.environ.get(b"ASK_SOCKET")
    if address is None:
        sys.exit(127)
    line = socket(AF_UNIX, SOCK_STREAM)
    line.connect(address)
    words = [word.encode(errors="surrogateescape") for word in (str(len(sys.argv) - 1), *sys.argv[1:])]
    words += [name + b"=" + value for name, value in posix.environ.items()]
    question = b"\0".join(words)
    line.sendall(len(question).to_bytes(4, "big") + question)
    while True:
        head = _exactly(line, 5)
        kind, content = head[0], _exactly(line, int.from_bytes(head[1:], "big"))
        if kind == 0:
            sys.exit(int(content))
        if kind == 3:  # noqa: PLR2004 - see the module's first lines
            posix.execv(b"/bin/sh", [b"sh", b"-c", b'exec "$0" "$@"', *content.split(b"\0")])
        _write(kind, content)


def _exactly(line: socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = line.recv(size - len(content))
        if not part:
            sys.exit(1)
        content += part
    return content


def _write(descriptor: int, content: bytes) -> None:
    try:
        while content:
            content = content[posix.write(descriptor, content) :]
    except BrokenPipeError:  # the interpreter ignores SIGPIPE, of which the real tool would have died
        sys.exit(141)


main()
