"""What a person sees of a command that computes: a panel, or lines, and no long silence."""

import io
import sys
import time

import pytest

from tenas_jax import command_line, terminal


def test_silence_is_broken(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "PATIENCE", 0.05)
    monkeypatch.setattr(terminal, "LOOKS", 0.01)
    with terminal.speaking():
        terminal.doing("scoring by linear regions")
        with terminal.meanwhile("compiling"):
            time.sleep(0.3)
        said = capsys.readouterr().err
        assert "... compiling (scoring by linear regions), 0 s\n" in said
        assert said.count("\n") >= 2
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_who_speaks_is_not_interrupted(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "PATIENCE", 0.2)
    with terminal.speaking():
        for number in range(10):
            command_line.say(f"line {number}")
            time.sleep(0.04)
    assert capsys.readouterr().err.splitlines() == [f"line {number}" for number in range(10)]


def test_five_seconds_at_most():
    assert terminal.PATIENCE + terminal.LOOKS < 5


def test_lines_where_there_is_no_terminal(capsys):
    with terminal.Progress(10, 2, "operators") as progress:
        assert not progress.is_live
        progress.advance(3, "round 0: pruned something")
        progress.advance(1)
    assert progress.done == 6
    assert capsys.readouterr().err == "round 0: pruned something\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", ["20", "100"])
def test_a_panel_where_there_is_one(monkeypatch, columns):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.doing("scoring")
    with terminal.Progress(10, 0, "operators") as progress:
        assert progress.is_live
        progress.advance(4, "round 0: [red]pruned", {"alive": "[bold]20 operators", "because": "a lead"})
        progress.advance(1)
    shown = screen.getvalue()
    assert "[red]pruned" in shown  # no markup is read from what comes from outside
    assert progress.left().endswith(" s")
    assert not progress.is_live
    if columns == "100":
        assert "[bold]20 operators" in shown
        assert "4 of 10 operators" in shown or "5 of 10 operators" in shown
