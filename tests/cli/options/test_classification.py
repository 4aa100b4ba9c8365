"""Groups of options that become one value: what is not given is another thing than what is."""

import click
import pytest
from click.testing import CliRunner

from tlkit.cli.options import classification as choices


@pytest.mark.parametrize(
    ("defaults", "words", "head", "others"),
    [
        ({}, (), 20, 5),  # cached features cost little
        ({}, ("--patience", "5"), 5, 5),  # as in the stored options of a run of before
        ({"patience": 10}, (), 10, 10),
    ],
)
def test_patience_is_the_persons_or_fits_the_phase(defaults, words, head, others):
    found = []

    @click.command()
    @choices.fitting(**defaults)
    def command(fitting):
        found.append(fitting)

    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert [found[0].waits(stage) for stage in ("head", "top", "all")] == [head, others, others]
