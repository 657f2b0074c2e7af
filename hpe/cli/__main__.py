"""`python -m hpe.cli` is the command `hpe`."""

from hpe.cli.main import main

if __name__ == "__main__":
    main()
