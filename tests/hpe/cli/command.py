"""One command, as a script calls it."""

from hpe.cli.main import main


def run(capsys, *arguments):
    """(exit code, standard output, standard error) of one command."""
    try:
        main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    output = capsys.readouterr()
    return code, output.out, output.err
