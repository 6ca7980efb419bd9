"""Programs that try to break out of the sandbox: each prints `HELD` only where it was kept in.

Each gets the host's facts as `facts`: a file outside, the port of a listening server, an abstract socket's
name, the id of a process outside. What it prints else is shown where it fails.
"""

PROGRAMS: dict[str, str] = {
    "reads the environment": """
import os
held = facts["secret"] not in repr(os.environ)
for n in ("self", "1", "2", str(os.getppid())):
    try:
        held = held and facts["secret"].encode() not in open(f"/proc/{n}/environ", "rb").read()
    except OSError:
        pass
print("HELD" if held else "read the secret")
""",
    "reads files of the host": """
import os
found = []
for path in ("/etc/shadow", "/etc/passwd", "/root", "/home", "/proc", "/sys", "/run", "/var", facts["file"],
             os.path.dirname(facts["file"]), facts["repository"]):
    try:
        found.append((path, os.listdir(path) if os.path.isdir(path) else open(path).read()))
    except OSError:
        pass
print("HELD" if not found else found)
""",
    "writes outside of its scratch folder": """
import os, sys
made = []
for folder in ("/", "/usr", "/usr/lib", "/dev", "/python", "/python/lib", sys.prefix,
               os.path.dirname(os.__file__), os.path.dirname(facts["file"]), "/var/tmp", "/home", "/dev/shm"):
    try:
        open(os.path.join(folder, "made"), "w").write("x")
        made.append(folder)
    except OSError:
        pass
open("/tmp/made", "w").write("x")
print("HELD" if not made and os.listdir("/scratch") == ["made"] else made)
""",
    "follows links out": """
import os
held = True
for target in (facts["file"], "/etc/shadow", "/../../../../etc/passwd", "/proc/1/root/etc/passwd"):
    os.symlink(target, "/scratch/link")
    try:
        open("/scratch/link").read(); held = False
    except OSError:
        pass
    try:
        open("/scratch/link", "a").write("x"); held = False
    except OSError:
        pass
    os.unlink("/scratch/link")
try:
    os.link(os.__file__, "/scratch/hard"); held = False
except OSError:
    pass
print("HELD" if held else "followed")
""",
    "opens connections": """
import socket
met = []
def attempt(name, family, kind, address):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(1)
            s.connect(address) if kind == socket.SOCK_STREAM else s.sendto(b"hello", address)
            if kind == socket.SOCK_DGRAM:
                return
        met.append(name)
    except OSError:
        pass
attempt("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", facts["port"]))
attempt("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", facts["port"]))
attempt("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", facts["udp"]))
attempt("abstract", socket.AF_UNIX, socket.SOCK_STREAM, facts["abstract"])
attempt("unix", socket.AF_UNIX, socket.SOCK_STREAM, facts["unix"])
for family in (40, 16, 17, 38):  # vsock, netlink, packet, alg
    try:
        socket.socket(family, socket.SOCK_RAW); met.append(family)
    except OSError:
        pass
print("HELD" if not met else met)
""",
    "reaches for other processes": """
import os, signal, ctypes
libc = ctypes.CDLL(None, use_errno=True)
done = []
for pid in (facts["pid"], os.getppid(), 1):
    try:
        os.kill(pid, signal.SIGKILL)
        if pid == facts["pid"]:
            done.append(f"kill {pid}")
    except OSError:
        pass
    for call in (0x10, 0x4206):  # PTRACE_ATTACH, PTRACE_SEIZE
        if libc.ptrace(call, pid, 0, 0) == 0:
            done.append(f"ptrace {pid}")
try:
    os.kill(-1, signal.SIGCONT)
except OSError:
    pass
print("HELD" if not done else done)
""",
    "wins powers back": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
done = []
for name, call in {
    "setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0), "setgroups": lambda: os.setgroups([0]),
    "chroot": lambda: os.chroot("/scratch"), "nice": lambda: os.nice(-20),
    "unlimit": lambda: __import__("resource").setrlimit(6, (10**6, 10**6)),
}.items():
    try:
        call(); done.append(name)
    except (OSError, ValueError):
        pass
for name, arguments in {
    "unshare": (0x10000000,), "setns": (0, 0), "mount": (b"none", b"/scratch", b"tmpfs", 0, None),
    "umount2": (b"/scratch", 0), "sethostname": (b"x", 1), "reboot": (0x01234567,),
    "swapoff": (b"/dev/null",),
    "memfd_create": (b"x", 0), "shmget": (0, 4096, 0o1600), "personality": (0x0040000,),
}.items():
    if getattr(libc, name)(*arguments) != -1:
        done.append(name)
nobody = os.getuid() == os.geteuid() == 65534 and os.getgroups() in ([], [65534])
print("HELD" if nobody and not done else done)
""",
    "sets the host's kernel": """
done = []
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
             "/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs"):
    try:
        open(path, "a"); done.append(path)
    except OSError:
        pass
print("HELD" if not done else done)
""",
    "finds open files of its parent": """
import os
found = []
for number in range(3, 1024):
    try:
        os.fstat(number); found.append(number)
    except OSError:
        pass
print("HELD" if not found else found)
""",
    "makes processes": """
import os, subprocess, ctypes
made = []
try:
    if os.fork() == 0:
        os._exit(0)
    made.append("fork")
except OSError:
    pass
for call in (lambda: subprocess.run(["/bin/true"]), lambda: os.posix_spawn("/bin/true", ["true"], {}),
             lambda: os.popen("true").read() and made.append("popen")):
    try:
        call(); made.append("spawn")
    except (OSError, ValueError):
        pass
libc = ctypes.CDLL(None)
for number in (56, 57, 58, 435):
    pid = libc.syscall(number, 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        made.append(number)
print("HELD" if not made else made)
""",
    "sees the repository": """
import sys
try:
    import stepdown
    print(stepdown.__file__)
except ImportError:
    print("HELD" if not any("site-packages" in p and __import__("os").listdir(p) for p in sys.path
                            if __import__("os").path.isdir(p)) else sys.path)
""",
}

# Programs that the limits have to end, each with what the result says.
BOMBS: dict[str, str] = {
    "forks for ever": "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
    "loops for ever": "while True: pass",
    "takes all memory": "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "takes memory in one piece": "x = bytearray(1 << 40)",
    "prints for ever": "while True: print('x' * 1000)",
    "fills its folder": (
        "import itertools\nfor i in itertools.count():\n  open(f'/scratch/{i}', 'wb').write(bytes(1 << 20))"
    ),
    "writes one huge file": "f = open('/scratch/f', 'wb')\nwhile True: f.write(bytes(1 << 20))",
    "starts threads for ever": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()"
    ),
    "opens files for ever": "x = []\nwhile True: x.append(open('/dev/null'))",
    "ignores the signals": (
        "import signal\nfor n in range(1, 65):\n  try: signal.signal(n, signal.SIG_IGN)\n"
        "  except (OSError, ValueError): pass\nwhile True: pass"
    ),
    "closes its streams and sleeps": "import os, time\nfor n in (0, 1, 2): os.close(n)\ntime.sleep(99)",
    "recurses for ever": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
}
