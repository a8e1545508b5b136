"""Errors as notebooks show them."""

import polyrank
import pytest
import torch
import torch.distributed as dist


def test_the_programs_lines_and_the_message_are_shown() -> None:
    with polyrank.lockstep(2), pytest.raises(polyrank.DivergenceError) as raised:
        (torch.ones(1) * dist.get_rank()).item()
    text = "\n".join(raised.value._render_traceback_())
    assert "test_short_traceback.py" in text
    assert "dist.get_rank()).item()" in text
    assert "/torch/" not in text
    assert (
        "DivergenceError: item(), or bool(), int() or float() of a tensor, gives different values"
        in text
    )


def test_frames_inside_are_counted_and_notes_kept() -> None:
    with pytest.raises(polyrank.UsageError) as raised:
        polyrank.run_ranks(print, 0)
    raised.value.add_note("a note")
    lines = raised.value._render_traceback_()
    assert any("more inside of torch and polyrank" in line for line in lines)
    assert lines[-2].startswith("UsageError: world_size=0")
    assert lines[-1] == "a note"
