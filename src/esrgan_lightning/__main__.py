"""``python -m esrgan_lightning`` is ``esrgan``, also where its script is not on the PATH."""

from esrgan_lightning.cli.app import main

if __name__ == "__main__":
    main()
