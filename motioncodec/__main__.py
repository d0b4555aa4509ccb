"""``python -m motioncodec`` is the command ``motioncodec``."""

from motioncodec.cli import main

if __name__ == "__main__":
    main()
