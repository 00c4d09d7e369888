"""``python -m demo``; see ``demo.run``."""

import sys

if __name__ == "__main__":
    try:
        from demo.run import main  # inside, so that Ctrl-C is quiet during the imports, too

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
