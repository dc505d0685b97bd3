"""Small file systems of their own for a node's directories: one that fills up, one that dies. For root, where the kernel lets us."""
import fcntl
import os
import pathlib
import struct
import subprocess

import pytest

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
SHUTDOWN_WITHOUT_LOG = 2


def command(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True)


class Disk:
    """A file system that is mounted at `path`; what it was mounted from stays until it is removed."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.mounted = False

    def mount(self, *words):
        done = command("mount", *words, self.path)
        if done.returncode:
            pytest.skip("nothing can be mounted here: " + done.stderr.strip())
        self.mounted = True
        return self

    def unmount(self):
        if self.mounted:
            command("umount", "-l", self.path)
        self.mounted = False


class Small(Disk):
    """In memory, of so many bytes."""

    def __init__(self, path, size):
        super().__init__(path)
        self.mount("-t", "tmpfs", "-o", f"size={size}", "none")

    def fill(self, left):
        """Somebody else's file takes all but so many bytes; empty() removes it."""
        with open(self.path / "ballast", "wb") as file:
            space = os.statvfs(self.path)
            size = space.f_bavail * space.f_frsize - left
            os.posix_fallocate(file.fileno(), 0, max(size, 1))

    def empty(self):
        (self.path / "ballast").unlink()


class Mortal(Disk):
    """An ext4 file system in a file. It dies as a disk does that was pulled out: everything is EIO from then on."""

    def __init__(self, path, size=64 << 20):
        super().__init__(path)
        self.image = self.path.with_name(self.path.name + ".image")
        with open(self.image, "wb") as file:
            file.truncate(size)
        done = command("mkfs.ext4", "-q", "-F", self.image)
        if done.returncode:
            pytest.skip("no ext4 can be made here: " + done.stderr.strip())
        self.mount("-o", "loop", self.image)
        (self.path / "lost+found").rmdir()

    def die(self):
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_WITHOUT_LOG))
        finally:
            os.close(descriptor)

    def come_back(self):
        self.unmount()
        self.mount("-o", "loop", self.image)
