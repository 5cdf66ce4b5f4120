"""``python -m gradparity`` is the command line."""

from gradparity.reports.cli import main

if __name__ == "__main__":
    main()
