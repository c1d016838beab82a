"""A program on a pty, for tests that answer what it asks."""
import os
import pty
import select
import subprocess

PATIENCE_S = 60


class Terminal:
    """A program on a pty: what it shows, in order."""

    def __init__(self, words):
        self.main, side = pty.openpty()
        self.program = subprocess.Popen(words, stdin=side, stdout=side, stderr=side,
                                        start_new_session=True)
        os.close(side)
        self.shown = ""

    def read(self):
        """False: it has ended."""
        if not select.select([self.main], [], [], PATIENCE_S)[0]:
            raise AssertionError(f"it shows nothing more than {self.shown!r}")
        try:
            data = os.read(self.main, 4096)
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, words):
        """All up to and with `words`, which it takes away."""
        while words not in self.shown:
            if not self.read():
                raise AssertionError(f"ended without {words!r}; it showed {self.shown!r}")
        before, self.shown = self.shown.split(words, 1)
        return before + words

    def answer(self, question, key):
        self.wait_for(question)
        asked = self.wait_for("[n]o: ")
        os.write(self.main, key + b"\n")
        return asked

    def end(self):
        while self.read():
            pass
        os.close(self.main)
        return self.program.wait(PATIENCE_S), self.shown

    def kill(self):
        self.program.kill()
        self.program.wait()
        os.close(self.main)
