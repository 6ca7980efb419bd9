"""Code that wants to pass its tests without being right; the tests are those of a square."""

from __future__ import annotations

CHEATS: dict[str, str] = {
    "leaves at once": """
import os
os._exit(0)
""",
    "leaves when it is called": """
def f(x):
    import os
    os._exit(0)
""",
    "exits": """
import sys
sys.exit(0)
""",
    "exits when it is called": """
def f(x): raise SystemExit(0)
""",
    "prints": """
print('all tests passed', 9, 9)
f = lambda x: print('1 1')
""",
    "writes to every descriptor": """
import os
def f(x):
    for n in range(1, 64):
        try: os.write(n, b'passed 9 9\\n\\n0\\n')
        except OSError: pass
    os._exit(0)
""",
    "equals everything": """
class A:
    def __eq__(s, o): return True
    __hash__ = None
f = lambda x: A()
""",
    "differs from nothing": """
class A(int):
    def __eq__(s, o): return True
    def __ne__(s, o): return False
f = lambda x: A(1)
""",
    "replaces a builtin": """
import builtins
builtins.abs = builtins.all = builtins.len = lambda *a: 0
f = lambda x: 0
""",
    "replaces a builtin when it is called": """
def f(x):
    import builtins
    builtins.abs = lambda x: 0
    return 10
""",
    "replaces a function of a module": """
import math
math.isclose = lambda *a, **k: True
f = lambda x: 1
""",
    "replaces unittest": """
import unittest
unittest.TestCase.assertEqual = lambda *a: None
unittest.TestCase.run = lambda *a: None
f = lambda x: 1
""",
    "replaces the comparison": """
__all__ = ['f', '_stepdown_equal']
_stepdown_equal = lambda *a: True
f = lambda x: 1
""",
    "changes its harness": """
import __main__
__main__._equal = __main__._guard = lambda *a: True
f = lambda x: 1
""",
    "steals the word from the other thread": """
import os, sys
def f(x):
    for frame in sys._current_frames().values():
        if "word" in frame.f_locals:
            os.write(frame.f_locals["report"], b"%b 9 9\\n\\n0\\n\\n" % frame.f_locals["word"])
            os._exit(0)
""",
    "steals the word by the collector": """
import gc, os
def f(x):
    for found in gc.get_objects():
        if isinstance(found, dict) and isinstance(found.get("word"), str):
            for number in range(3, 9):
                try: os.write(number, b"%b 9 9\\n\\n0\\n\\n" % found["word"].encode())
                except OSError: pass
            os._exit(0)
""",
    "steals the word by tracing": """
import os, sys, threading
def look(frame, *_):
    while frame:
        if "word" in frame.f_locals and "report" in frame.f_locals:
            os.write(frame.f_locals["report"], b"%b 9 9\\n\\n0\\n\\n" % frame.f_locals["word"])
            os._exit(0)
        frame = frame.f_back
getattr(threading, "settrace_all_threads", sys.settrace)(look)
f = lambda x: 1
""",
    "traces": """
import sys
sys.settrace(lambda *a: None)
f = lambda x: 9
""",
    "hears what is audited": """
import sys
sys.addaudithook(print)
f = lambda x: 9
""",
    "reaches below Python": """
import ctypes
f = lambda x: 9
""",
    "reaches below Python by another name": """
from _ctypes import dlopen
f = lambda x: 9
""",
    "tells its own counter": """
import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for v in list(frame.f_locals.values()):
            for name in ('append', 'put', 'release'):
                try: getattr(v, name)(*([None] if name != 'release' else []))
                except Exception: pass
        frame = frame.f_back
    return 1
""",
    "becomes another program": """
import os, sys
def f(x): os.execv(sys.executable, [sys.executable, '-c', 'print(9)'])
""",
    "hangs": """
def f(x):
    while True: pass
""",
    "wants all memory": """
f = lambda x: bytearray(1 << 40)
""",
    "is no Python": """
def f(x) return 9
""",
    "is nothing": "",
    "is not there": """
def g(x): return 9
""",
    "makes its text hang": """
class E(Exception):
    def __str__(s):
        raise s
def f(x): raise E
""",
}
