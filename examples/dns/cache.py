"""An app that keeps a counter in Redis, which it finds by name: cache.py NAME PORT.

Connects anew after an error, and resolves the name anew for that. Prints what
Redis counts, ten times a second, or what went wrong.
"""
import socket
import sys
import time

name, port = sys.argv[1], int(sys.argv[2])


def count(connection):
    connection.sendall(b"*2\r\n$4\r\nINCR\r\n$4\r\nhits\r\n")
    reply = connection.recv(100)
    if not reply.startswith(b":"):
        raise OSError(f"redis answers {reply!r}")
    return int(reply[1:])


connection = None
while True:
    try:
        if connection is None:
            connection = socket.create_connection((name, port), timeout=1)
        print("count", count(connection), "at", connection.getpeername()[0], flush=True)
    except OSError as error:
        print("error", error, flush=True)
        connection = None
    time.sleep(0.1)
