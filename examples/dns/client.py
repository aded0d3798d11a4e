"""Calls a service by its name again and again: client.py NAME PORT [TIMES].

Prints how often each instance answered. A new connection resolves the name
anew; a pool would stay with the instances that it knows.
"""
import collections
import sys
import urllib.request

name, port = sys.argv[1], sys.argv[2]
times = int(sys.argv[3]) if len(sys.argv) > 3 else 60
answers = collections.Counter()
for _ in range(times):
    with urllib.request.urlopen(f"http://{name}:{port}/name", timeout=5) as reply:
        answers[reply.read().decode()] += 1
print(" ".join(f"{who}:{count}" for who, count in sorted(answers.items())))
