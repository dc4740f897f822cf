"""Making an enlarged picture agree with the one that it was made from."""

from typing import final

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.pixels import from_float, to_float
from esrgan_lightning.ops.resize import imresize


@final
class BackProjection:
    """Iterative back-projection: SR ← SR + step · up(LR − down(SR)), up and down being MATLAB's bicubic.

    What a network invents may not, when shrunk again, give the picture that it was given. Each iteration puts
    the difference, enlarged, back in: the mean error of the shrunk SR falls, and with it mostly the
    distance from the HR image (PSNR rises), while detail that shrinking removes stays as it was. It presumes
    that the LR was made by bicubic shrinking; of a photo with noise or JPEG artefacts it puts these back.

    Args:
        scale: s.
        iterations: at least 1; after ten or so little changes.
        step: of each iteration, above 0 to 2; beyond 1 it may ring.

    Raises:
        InputError: a setting out of range.

    Source:
        Irani, Peleg, "Improving resolution by image registration", CVGIP 1991, section 3; as a last step of
        super-resolution networks in Timofte et al., "Seven ways to improve example-based single image super
        resolution", CVPR 2016, section 3.4.
    """

    def __init__(self, scale: int, iterations: int = 10, step: float = 1.0) -> None:
        if scale < 2 or iterations < 1 or not 0 < step <= 2:
            raise InputError(
                f"back-projection: scale={scale} must be at least 2, iterations={iterations} at least 1, "
                f"step={step} above 0 and at most 2"
            )
        self.scale, self.iterations, self.step = scale, iterations, step

    def __call__(self, sr: Tensor, lr: Tensor) -> Tensor:
        """Corrects a picture.

        Args:
            sr: (…,C,s·h,s·w), uint8, uint16 or floating in [0,1].
            lr: (…,C,h,w), of any of these types.

        Returns:
            Of ``sr``'s shape and type; a floating picture is clamped to [0,1] at the end.

        Raises:
            InputError: ``sr`` is not s times as large as ``lr``.
        """
        expected = (*lr.shape[:-2], lr.shape[-2] * self.scale, lr.shape[-1] * self.scale)
        if tuple(sr.shape) != expected:
            raise InputError(
                f"back-projection: SR is {tuple(sr.shape)}, and {tuple(lr.shape)} enlarged by {self.scale} "
                f"is {expected}"
            )
        picture = to_float(sr) if not sr.is_floating_point() else sr
        given = to_float(lr, picture.dtype).to(picture.device)
        for _ in range(self.iterations):
            error = given - imresize(picture, 1 / self.scale)
            picture = picture + self.step * imresize(error, self.scale)
        return from_float(picture.clamp(0, 1), sr.dtype)
