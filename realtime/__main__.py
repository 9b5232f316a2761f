"""`python -m realtime` runs the command `realtime`."""

from realtime.cli.main import main

if __name__ == "__main__":
    main()
